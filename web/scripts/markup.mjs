// A Vite plugin: the markup of all components of a file as one text, a line for each piece, of which equal pieces are one, in the order of the alphabet, which
// puts like beside like. Svelte's lists of lists say the same with a third more gzipped bytes: a name for each, quotes and brackets. Only the build is changed,
// not what is developed with.
//
// A line is texts, `~` (where something comes and goes) and `<tag.class"name=value|content>`; ends at the end of the line are left out. `>` before all says that
// the piece is a fragment, `"` that it is part of a picture. A button is a `type=button` unless it says otherwise.

/** Stands before each piece of markup, from its component to here. */
const MARK = 'markup';
const TEMPLATES = 'svelte/src/internal/client/dom/template.js';
const SCANNER = String.raw`/<([^|>]+)\|?|[>~]|[^<>~]+/g`;

/** What makes the pieces of a text, in the place of Svelte's `from_tree`: `(number) => clone`. */
const READER = `function piece(text) {
	const [, picture, fragment, line] = text.match(/^("?)(>?)(.*)$/);
	const root = create_fragment();
	let at = root;
	for (const [part, head] of line.matchAll(${SCANNER})) {
		if (part === '>') at = at.parentNode;
		else if (part === '~') at.append(create_comment(''));
		else if (!head) at.append(part);
		else {
			const [start, ...attributes] = head.split('"');
			const [name, classes] = start.split('.');
			const element = create_element(name, picture || name === 'svg' ? NAMESPACE_SVG : at.namespaceURI);
			if (classes) element.setAttribute('class', classes);
			if (name === 'button') element.setAttribute('type', name);
			for (const attribute of attributes) {
				const [key, value] = attribute.split(/=(.*)/);
				element.setAttribute(key, value);
			}
			at.append(element);
			at = element;
		}
	}
	return [fragment ? root : get_first_child(root), fragment];
}
export function from_tree(table) {
	const lines = table.split('\\n');
	const made = [];
	return (number) => {
		const [node, fragment] = (made[number] ??= piece(lines[number]));
		const clone = is_firefox ? document.importNode(node, true) : node.cloneNode(true);
		if (fragment) assign_nodes(get_first_child(clone), clone.lastChild);
		else assign_nodes(clone, clone);
		return clone;
	};
}
`;

const literal = (node) => (node.type === 'TemplateLiteral' ? node.quasis[0].value.cooked : node.value);

function checked(text, forbidden, what) {
  if (typeof text !== 'string' || forbidden.test(text)) throw new Error(`markup.mjs cannot write ${what} ${JSON.stringify(text)}`);
  return text;
}

function attribute({ key, value }) {
  const name = key.name ?? literal(key);
  return [checked(name, /[<>|~"=.\n]/, 'the attribute'), checked(literal(value), /[<>|~"\n]/, `${name}=`)];
}

/** A node of `from_tree`, as it stands in a line. */
function written(node, within) {
  if (!node) return '~';
  if (node.type !== 'ArrayExpression') return checked(within === 'pre' ? literal(node) : literal(node).replace(/[ \t\n]+/g, ' '), /^$|[<>~\n]/, 'the text');
  const [tag, attributes, ...children] = node.elements;
  const name = checked(literal(tag), /[^a-zA-Z0-9-]|^(template|foreignObject)$/, 'the element');
  let head = name;
  const all = attributes?.type === 'ObjectExpression' ? attributes.properties.map(attribute) : [];
  const classes = all.find(([key]) => key === 'class')?.[1] ?? '';
  if (classes !== '') head += `.${checked(classes, /\./, 'the class')}`;
  if (name === 'button' && !all.some(([key]) => key === 'type')) all.push(['type', 'submit']);
  for (const [key, value] of all) if (key !== 'class' && !(name === 'button' && value === 'button')) head += `"${key}=${value}`;
  const isText = (child) => child && child.type !== 'ArrayExpression';
  if (children.some((child, at) => isText(child) && isText(children[at + 1]))) throw new Error(`two texts side by side in ${name}`);
  return `<${head}${children.length > 0 ? `|${children.map((child) => written(child, name)).join('')}` : ''}>`;
}

function line(tree, flags) {
  // 1: a fragment, 4: within a picture.
  if ((flags & ~5) !== 0) throw new Error(`markup.mjs does not know the flags ${flags}`);
  return `${flags & 4 ? '"' : ''}${flags & 1 ? '>' : ''}${tree.elements.map((node) => written(node)).join('')}`.replace(/(?<!^"?)>+$/, '');
}

/** A node and all within it, but for names of members. */
function* nodes(node) {
  yield node;
  for (const key in node) {
    if ((key === 'property' || key === 'key') && !node.computed && node[key]?.type === 'Identifier') continue;
    for (const one of [node[key]].flat()) if (typeof one?.type === 'string') yield* nodes(one);
  }
}

/** A file's code with its markup in one text. `parse` makes the ESTree of it. */
export function gathered(code, parse) {
  const pieces = new Map();
  const program = parse(code);
  for (const { type, declarations = [] } of program.body) {
    if (type !== 'VariableDeclaration') continue;
    for (const declarator of declarations) {
      const { init } = declarator;
      if (init?.type !== 'CallExpression' || !init.arguments[0] || literal(init.arguments[0]) !== MARK) continue;
      pieces.set(declarator.id.name, { declarator, line: line(init.arguments[1], init.arguments[2] ? literal(init.arguments[2]) : 0) });
    }
  }
  if (pieces.size === 0) return code;
  const lines = [...new Set([...pieces.values()].map((piece) => piece.line))].sort();
  const [[table, { declarator: first }]] = pieces;
  const edits = [];
  let uses = 0;
  for (const node of nodes(program)) {
    if (node.type === 'Identifier' && pieces.has(node.name)) uses += 1;
    if (node.type === 'CallExpression' && node.callee.type === 'Identifier' && pieces.has(node.callee.name) && node.arguments.length === 0) {
      uses -= 1;
      edits.push([node.start, node.end, `${table}(${lines.indexOf(pieces.get(node.callee.name).line)})`]);
    }
  }
  // Otherwise a name is used in another way, or stands for something else in some function.
  if (uses !== pieces.size) throw new Error('a piece of markup is used in a way that markup.mjs does not know');
  const text = lines.join('\n').replace(/[\\`]|\$\{/g, '\\$&');
  const reader = code.slice(first.init.callee.start, first.init.callee.end);
  edits.push([first.init.start, first.init.end, `${reader}(\`${text}\`)`]);
  edits.sort((a, b) => a[0] - b[0]);
  const gone = (declarator) => declarator !== first && pieces.get(declarator.id.name)?.declarator === declarator;
  const statements = program.body.map((node) => {
    const left = node.type === 'VariableDeclaration' ? node.declarations.filter((one) => !gone(one)) : [];
    if (left.length === (node.declarations?.length ?? 0)) return edited(code, node, edits);
    return left.length === 0 ? '' : `${node.kind} ${left.map((one) => edited(code, one, edits)).join(',')};`;
  });
  return statements.join('');
}

/** The code of a node with the edits within it, which are in the order of their starts. */
function edited(code, { start, end }, edits) {
  let out = '';
  let at = start;
  for (const [from, to, text] of edits) {
    if (from < at || to > end) continue;
    out += code.slice(at, from) + text;
    at = to;
  }
  return out + code.slice(at, end);
}

export function markup() {
  let found = false;
  return [
    {
      name: 'markup-reader',
      enforce: 'pre',
      apply: 'build',
      transform(code, id) {
        if (!id.split('?')[0].endsWith(`/node_modules/${TEMPLATES}`)) return;
        const start = code.search(/^export function from_tree\(/m);
        const end = start + code.slice(start).search(/^\}$/m) + 2;
        if (start < 0 || end < start + 2) return;
        found = true;
        return code.slice(0, start) + READER + code.slice(end);
      },
      buildEnd(error) {
        if (!error && !found) throw new Error('no longer found: from_tree');
      },
    },
    {
      name: 'markup-marks',
      enforce: 'post',
      apply: 'build',
      transform(code, id) {
        if (id.endsWith('.svelte')) return { code: code.replace(/\$\.from_tree\(/g, `$&'${MARK}', `), map: null };
      },
    },
    {
      name: 'markup',
      apply: 'build',
      // A browser keeps files by their names, and what is written here depends on the reader that another file holds.
      augmentChunkHash: () => READER,
      generateBundle: {
        order: 'post',
        handler(_, bundle) {
          for (const chunk of Object.values(bundle)) if (chunk.type === 'chunk') chunk.code = gathered(chunk.code, (code) => this.parse(code));
        },
      },
    },
  ];
}
