// Checks what is dropped, chosen, pasted or asked for, whenever it or the key changes. A page by itself: no sign-in, no server, no library.
import { check } from './check';
import { Crypto } from './crypto';
import { keepCopy } from './copy';
import { detailsOf, verdictOf, type KeySource } from './report';

/** Documents are some kilobytes; what is far larger is none. */
const LARGEST_BYTES = 1 << 20;

const copy = keepCopy();
const at = <E extends HTMLElement>(id: string): E => document.getElementById(id) as E;
const [text, key, file] = [at<HTMLTextAreaElement>('text'), at<HTMLInputElement>('key'), at<HTMLInputElement>('file')];
const hint = at('key-hint');
const HINT = hint.textContent;
// Pages that came over plain HTTP have no such interface.
const crypto = new Crypto(globalThis.crypto?.subtle as SubtleCrypto | undefined);

let source = '';
/** The key that this manager gave out, if it was asked. */
let asked = '';
let round = 0;

async function show(): Promise<void> {
  const mine = ++round;
  const given = key.value.replace(/\s+/g, '').toLowerCase();
  const usable = /^[0-9a-f]{64}$/.test(given);
  const wrong = given !== '' && !usable;
  key.setAttribute('aria-invalid', String(wrong));
  const from: KeySource = usable && given === asked ? 'asked' : 'given';
  hint.classList.toggle('bad', wrong);
  say(hint, wrong ? 'This is no key: it has to be 64 hex digits. It is left out.' : from === 'asked' ? 'This manager says that this is its key. A key from somewhere else, such as its operator or a node, shows more.' : HINT);
  if (source.trim() === '') {
    at('verdict').replaceChildren();
    at('findings').replaceChildren();
    return;
  }
  const report = await check(source, usable ? given : null, crypto);
  if (mine !== round) return;
  at('verdict').replaceChildren(verdictOf(report, from));
  at('findings').replaceChildren(...detailsOf(report));
}

/** Only what is new is said again to who listens to the page. */
function say(element: HTMLElement, words: string): void {
  if (element.textContent !== words) element.textContent = words;
}

function take(document: string, name: string): void {
  source = document;
  text.value = document;
  say(at('source'), name);
  void show().then(() => at('verdict').scrollIntoView({ block: 'nearest' }));
}

async function takeFile(chosen: File | undefined): Promise<void> {
  if (!chosen) return;
  if (chosen.size > LARGEST_BYTES) return take('', `${chosen.name} is too large to be a proof`);
  try {
    // Bytes that are no text are refused, and a byte order mark stays: it is not JSON.
    take(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(await chosen.arrayBuffer()), chosen.name);
  } catch {
    take('', `${chosen.name} is not a text`);
  }
}

/** What this manager answers to who is signed in; null, and the reason said, when it does not. */
async function ask(path: string, saying: (words: string) => void): Promise<Response | null> {
  const answer = await fetch(`/api/v1/poot/${path}`).catch(() => null);
  if (answer?.ok) return answer;
  const reasons: Record<number, string> = { 401: 'Sign in to this manager in another tab first.', 403: 'Your account may not read this.', 404: 'This manager has no such proof.' };
  saying(reasons[answer?.status ?? 0] ?? 'This manager does not answer.');
  return null;
}

/** `#node=ID`, and `&epoch=SLOT`: what a link of the UI asks for. */
async function takeLinked(): Promise<void> {
  const wanted = new URLSearchParams(location.hash.slice(1));
  const node = wanted.get('node');
  if (!node || location.protocol === 'file:') return;
  const epoch = wanted.get('epoch');
  const answer = await ask(`${encodeURIComponent(node)}${epoch ? `?epoch=${encodeURIComponent(epoch)}` : ''}`, (words) => say(at('source'), words));
  if (answer) take(await answer.text(), `of ${node}, from this manager`);
}

text.addEventListener('input', () => {
  source = text.value;
  say(at('source'), source.trim() ? 'as it stands here' : 'none yet');
  void show();
});
key.addEventListener('input', () => void show());
file.addEventListener('change', () => {
  void takeFile(file.files?.[0]);
  // The same file may be chosen again once it was changed.
  file.value = '';
});
document.addEventListener('dragover', (event) => event.preventDefault());
document.addEventListener('drop', (event) => {
  if (!event.dataTransfer?.files.length) return;
  event.preventDefault();
  void takeFile(event.dataTransfer.files[0]);
});
addEventListener('hashchange', () => void takeLinked());
at('ask').addEventListener('click', async () => {
  const answer = await ask('manager-key', (words) => say(hint, words));
  if (!answer) return;
  asked = ((await answer.json()) as { public_key: string }).public_key;
  key.value = asked;
  await show();
});
at('save').addEventListener('click', () => void copy());

// A copy on a disk has no manager to ask.
for (const element of document.querySelectorAll<HTMLElement>('.online')) element.hidden = location.protocol === 'file:';
if (location.protocol === 'file:') document.querySelector('.home')?.removeAttribute('href');
text.value = '';
void takeLinked();
