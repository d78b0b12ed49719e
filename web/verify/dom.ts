// Elements, made here: what a document says is text, never markup.

type Child = Node | string | null;

export function make(tag: string, className: string, ...children: Child[]): HTMLElement {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children.filter((child) => child !== null));
  return element;
}

export function draw(tag: string, attributes: Record<string, string | number>, ...children: Node[]): SVGElement {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/** Labelled values; rows without a value are left out. */
export function pairs(rows: [string, Child][]): HTMLElement {
  return make('dl', 'pairs', ...rows.filter(([, value]) => value !== null).flatMap(([name, value]) => [make('dt', '', name), make('dd', '', value)]));
}

export function card(title: string, ...children: Child[]): HTMLElement {
  return make('section', 'card stack', make('h2', '', title), ...children);
}

export const mono = (text: string): HTMLElement => make('span', 'mono', text);
