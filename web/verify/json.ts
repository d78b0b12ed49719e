// JSON as a proof is written in it, read strictly: what `JSON.parse` passes over (a field twice) or rounds (large integers) is refused or kept exactly.

/** An object is a map, so that no name of a field means anything to JavaScript. */
export type Json = null | boolean | bigint | string | Json[] | Map<string, Json>;

/** The document does not read. The message says where, and what is wrong with it. */
export class Refused extends Error {}

const DEEPEST = 16;
const SPACE = /[ \t\n\r]*/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?/y;
const TEXT = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const WORDS = new Map<string, Json>([
  ['null', null],
  ['true', true],
  ['false', false],
]);

export function parse(text: string): Json {
  let at = 0;
  const fail = (): never => {
    throw new Refused(`it is not JSON: see character ${at + 1}`);
  };
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0];
    at += found?.length ?? 0;
    return found;
  };
  const sign = (wanted: string): boolean => {
    take(SPACE);
    if (text[at] !== wanted) return false;
    at += 1;
    return true;
  };
  const string = (): string => {
    take(SPACE);
    return JSON.parse(take(TEXT) ?? fail()) as string;
  };

  function value(depth: number): Json {
    if (depth > DEEPEST) fail();
    if (sign('{')) return object(depth);
    if (sign('[')) return list(depth);
    if (text[at] === '"') return string();
    for (const [word, meaning] of WORDS) {
      if (text.startsWith(word, at)) {
        at += word.length;
        return meaning;
      }
    }
    const number = take(NUMBER) ?? fail();
    if (!/^-?[0-9]{1,19}$|^[0-9]{20}$/.test(number) || number === '-0') throw new Refused(`${number.slice(0, 30)} is not an integer of this format`);
    return BigInt(number);
  }

  function object(depth: number): Json {
    const fields = new Map<string, Json>();
    if (sign('}')) return fields;
    do {
      const name = string();
      if (fields.has(name)) throw new Refused(`the field ${name} is there twice`);
      if (!sign(':')) fail();
      fields.set(name, value(depth + 1));
    } while (sign(','));
    return sign('}') ? fields : fail();
  }

  function list(depth: number): Json {
    const items: Json[] = [];
    if (sign(']')) return items;
    do items.push(value(depth + 1));
    while (sign(','));
    return sign(']') ? items : fail();
  }

  const read = value(0);
  take(SPACE);
  return at === text.length ? read : fail();
}
