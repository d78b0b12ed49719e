// Shows the OpenAPI document of the manager that serves this page. It stands apart from the admin UI, loads nothing but the document, and makes every
// element itself: what the document says is text, never markup.

type Schema = {
  $ref?: string;
  type?: string | string[];
  format?: string;
  description?: string;
  enum?: unknown[];
  const?: unknown;
  default?: unknown;
  pattern?: string;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  minItems?: number;
  maxItems?: number;
  items?: Schema;
  properties?: Record<string, Schema>;
  additionalProperties?: boolean | Schema;
  required?: string[];
  oneOf?: Schema[];
  anyOf?: Schema[];
  allOf?: Schema[];
};
type Content = Record<string, { schema?: Schema; example?: unknown }>;
type Answer = { $ref?: string; description?: string; content?: Content };
type Parameter = { name: string; in: string; required?: boolean; description?: string; schema?: Schema };
type Operation = {
  operationId?: string;
  tags?: string[];
  summary?: string;
  description?: string;
  parameters?: Parameter[];
  requestBody?: { content: Content };
  responses?: Record<string, Answer>;
  security?: Record<string, string[]>[];
  'x-roles'?: string[];
  'x-node-access'?: string;
  'x-fresh-factor'?: boolean;
};
type OpenApi = {
  info: { title: string; version: string; description?: string };
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Schema>; responses?: Record<string, Answer> };
};

const DOCUMENT = '/api/v1/openapi.json';
/** Schemas within schemas that are shown open. */
const OPEN_DEPTH = 1;
const DEEPEST = 12;

function make(tag: string, className: string, ...children: (Node | string)[]): HTMLElement {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/** Text with `code` in it. */
function words(text: string): Node[] {
  return text.split('`').map((part, i) => (i % 2 ? make('code', '', part) : document.createTextNode(part)));
}

/** Paragraphs, and the tables that the description has. */
function prose(text: string): HTMLElement {
  const blocks = text.split(/\n\s*\n/).map((block) => {
    const lines = block.trim().split('\n');
    if (!lines.every((line) => line.startsWith('|'))) return make('p', '', ...words(block.trim()));
    const cells = (line: string) => line.replace(/^\||\|$/g, '').split('|').map((cell) => cell.trim());
    const row = (line: string, tag: string) => make('tr', '', ...cells(line).map((cell) => make(tag, '', ...words(cell))));
    const [head = '', , ...rows] = lines;
    const table = make('table', '', make('thead', '', row(head, 'th')), make('tbody', '', ...rows.map((line) => row(line, 'td'))));
    return make('details', '', make('summary', '', cells(head).join(', ')), make('div', 'scroll', table));
  });
  return make('div', '', ...blocks);
}

function show(api: OpenApi): void {
  const named = (reference: string) => reference.split('/').pop() ?? '';
  const resolve = (schema: Schema): Schema => (schema.$ref ? resolve(api.components.schemas[named(schema.$ref)] ?? {}) : schema);
  /** Without the `null` that an optional field may be. */
  const chosen = (schema: Schema): Schema => {
    const choices = (schema.oneOf ?? schema.anyOf ?? []).filter((choice) => choice.type !== 'null');
    const [only] = choices;
    return only && choices.length === 1 ? only : schema;
  };

  function typeOf(given: Schema): string {
    const schema = chosen(given);
    if (schema.$ref) return named(schema.$ref);
    if (schema.items) return `list of ${typeOf(schema.items)}`;
    const choices = schema.oneOf ?? schema.anyOf ?? schema.allOf;
    if (choices) return choices.map(typeOf).join(' or ');
    const types = [schema.type ?? 'any'].flat().filter((type) => type !== 'null');
    return types.join(' or ') + (schema.format ? ` (${schema.format})` : '');
  }

  function bounds(given: Schema): string {
    const schema = resolve(chosen(given));
    const said: string[] = [];
    const range = (low: number | undefined, high: number | undefined, what: string) => {
      if (low !== undefined && high !== undefined) said.push(`${low} to ${high}${what}`);
      else if (low !== undefined) said.push(`at least ${low}${what}`);
      else if (high !== undefined) said.push(`at most ${high}${what}`);
    };
    range(schema.minimum, schema.maximum, '');
    range(schema.minLength, schema.maxLength, ' characters');
    range(schema.minItems, schema.maxItems, ' items');
    if (schema.pattern) said.push(`pattern ${schema.pattern}`);
    if (schema.enum) said.push(schema.enum.join(', '));
    const preset = given.default ?? schema.default;
    if (preset !== undefined && preset !== null) said.push(`default ${JSON.stringify(preset)}`);
    return said.join(' · ');
  }

  /** What a schema is made of; null for a plain value. Deep ones are made when they are opened. */
  function inside(given: Schema, depth: number): HTMLElement | null {
    const schema = resolve(chosen(given));
    if (schema.items) return inside(schema.items, depth);
    if (typeof schema.additionalProperties === 'object') return inside(schema.additionalProperties, depth);
    const fields = Object.entries(schema.properties ?? {});
    if (fields.length === 0 || depth > DEEPEST) return null;
    return make('ul', 'fields', ...fields.map(([name, field]) => fieldOf(name, field, schema.required?.includes(name) ?? false, depth)));
  }

  function fieldOf(name: string, field: Schema, needed: boolean, depth: number): HTMLElement {
    const line: (Node | string)[] = [make('code', '', name), ' ', make('span', 'type', [typeOf(field), bounds(field)].filter(Boolean).join(' · '))];
    if (needed) line.push(' ', make('span', 'needed', 'required'));
    const about = field.description ?? chosen(field).description;
    const item = make('li', '', ...line);
    if (about) item.append(make('div', 'small muted', ...words(about)));
    const target = resolve(chosen(field));
    if (target.properties || target.items || typeof target.additionalProperties === 'object') {
      const more = make('details', 'small', make('summary', 'muted', 'fields')) as HTMLDetailsElement;
      const fill = () => {
        if (more.children.length > 1) return;
        const body = inside(field, depth + 1);
        if (body) more.append(body);
        else more.remove();
      };
      more.addEventListener('toggle', fill, { once: true });
      item.append(more);
      if (depth < OPEN_DEPTH) fill();
    }
    return item;
  }

  function content(of: Content | undefined): HTMLElement[] {
    return Object.entries(of ?? {}).flatMap(([type, { schema, example }]) => {
      const parts: HTMLElement[] = [make('p', 'type', [type, schema ? typeOf(schema) : ''].filter(Boolean).join(' · '))];
      const fields = schema && inside(schema, 0);
      if (fields) parts.push(fields);
      if (example !== undefined) parts.push(make('pre', '', typeof example === 'string' ? example : JSON.stringify(example, null, 2)));
      return parts;
    });
  }

  function access(operation: Operation): HTMLElement {
    const scopes = [...new Set((operation.security ?? []).flatMap((scheme) => Object.values(scheme).flat()))];
    const open = operation['x-node-access'] === 'signed' ? [] : ['public'];
    const said = scopes.length ? scopes.map((scope) => `scope ${scope}`) : open;
    if (operation['x-roles']?.length) said.push(`roles ${operation['x-roles'].join(', ')}`);
    if (operation['x-node-access'] && operation['x-node-access'] !== 'none') said.push(`nodes: ${operation['x-node-access']}`);
    if (operation['x-fresh-factor']) said.push('confirmed session');
    return make('ul', 'access', ...said.map((text) => make('li', '', text)));
  }

  function bodyOf(operation: Operation): HTMLElement {
    const body = make('div', 'body');
    if (operation.description) body.append(prose(operation.description));
    body.append(access(operation));
    if (operation.parameters?.length) {
      const one = (p: Parameter) => {
        const described = p.description === undefined ? p.schema : { ...p.schema, description: p.description };
        return fieldOf(`${p.name} (${p.in})`, described ?? {}, p.required ?? false, DEEPEST);
      };
      body.append(make('section', '', make('h3', '', 'Parameters'), make('ul', 'fields', ...operation.parameters.map(one))));
    }
    if (operation.requestBody) body.append(make('section', '', make('h3', '', 'Request'), ...content(operation.requestBody.content)));
    const answers = Object.entries(operation.responses ?? {}).map(([status, given]) => {
      const answer = given.$ref ? (api.components.responses?.[named(given.$ref)] ?? given) : given;
      const good = status.startsWith('2');
      const more = make('details', '', make('summary', '', make('code', '', status), ' ', ...words(answer.description ?? ''))) as HTMLDetailsElement;
      more.open = good;
      const fill = () => more.append(...content(answer.content));
      if (good) fill();
      else more.addEventListener('toggle', fill, { once: true });
      return make('li', '', more);
    });
    body.append(make('section', '', make('h3', '', 'Answers'), make('ul', 'fields', ...answers)));
    return body;
  }

  const groups = new Map<string, { id: string; method: string; path: string; operation: Operation }[]>();
  for (const [path, item] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(item)) {
      const tag = operation.tags?.[0] ?? 'other';
      const id = operation.operationId ?? `${method}_${path}`;
      groups.set(tag, [...(groups.get(tag) ?? []), { id, method, path, operation }]);
    }
  }
  const main = document.getElementById('operations')!;
  const contents = document.getElementById('contents')!;
  main.replaceChildren(make('h1', '', `${api.info.title} ${api.info.version}`));
  if (api.info.description) main.append(prose(api.info.description));
  const searched: { text: string; elements: HTMLElement[] }[] = [];
  const headings: { elements: HTMLElement[]; members: HTMLElement[] }[] = [];
  for (const [tag, members] of groups) {
    const heading = make('h2', '', tag);
    const navHeading = make('h2', '', tag);
    main.append(heading);
    contents.append(navHeading);
    const shown: HTMLElement[] = [];
    for (const { id, method, path, operation } of members) {
      const summary = make('summary', '', make('span', `method ${method}`, method.toUpperCase()), make('code', '', path), make('span', 'words', operation.summary ?? ''));
      const element = make('details', 'operation', summary);
      element.id = id;
      element.addEventListener('toggle', () => element.append(bodyOf(operation)), { once: true });
      const link = make('a', '', operation.summary ?? path) as HTMLAnchorElement;
      link.href = `#${id}`;
      main.append(element);
      contents.append(link);
      shown.push(element);
      searched.push({ text: `${method} ${path} ${operation.summary ?? ''} ${tag}`.toLowerCase(), elements: [element, link] });
    }
    headings.push({ elements: [heading, navHeading], members: shown });
  }

  const search = document.getElementById('search') as HTMLInputElement;
  search.addEventListener('input', () => {
    const parts = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const { text, elements } of searched) for (const element of elements) element.hidden = !parts.every((part) => text.includes(part));
    for (const { elements, members } of headings) for (const element of elements) element.hidden = members.every((member) => member.hidden);
  });
  document.addEventListener('keydown', (event) => {
    if (event.key !== '/' || event.target === search) return;
    event.preventDefault();
    search.focus();
  });
  const openTarget = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!(target instanceof HTMLDetailsElement)) return;
    target.open = true;
    target.scrollIntoView();
  };
  addEventListener('hashchange', openTarget);
  openTarget();
}

const answer = await fetch(DOCUMENT).catch(() => null);
if (answer?.ok) show((await answer.json()) as OpenApi);
else document.getElementById('operations')!.replaceChildren(make('p', '', 'The document could not be read. Load the page again.'));

export {};
