// The window as a picture: time from left to right, and in each column what its slots were.
import { SLOT_SECONDS, type Slots } from './check';
import { draw, make } from './dom';
import { count, duration, slotTime } from './words';

/** From the bottom of a column to its top. */
export const STATES = ['proven', 'strained', 'missed', 'unobserved'] as const;
export type SlotState = (typeof STATES)[number];
const MEANING: Record<SlotState, string> = {
  proven: 'reported in time',
  strained: 'reported, beyond a warning limit',
  missed: 'observed, nothing heard',
  unobserved: 'not observed: not counted',
};

const COLUMNS = 240;
const HEIGHT = 48;
/** Of these, the share of each stripe that is coloured: colour only repeats what the stripes say. They lie flat, because the picture is stretched. */
const STRIPES: Partial<Record<SlotState, number>> = { strained: 3, missed: 2 };
const STRIPE = 4;

export function statesOf({ proven, observed, strained }: Slots): SlotState[] {
  return observed.map((seen, i) => (strained[i] ? 'strained' : proven[i] ? 'proven' : seen ? 'missed' : 'unobserved'));
}

/** Columns of equally many slots (the last one may have fewer), each with its count of every state. */
export function columnsOf(states: SlotState[], most = COLUMNS): Record<SlotState, number>[] {
  const each = Math.max(1, Math.ceil(states.length / most));
  return Array.from({ length: Math.ceil(states.length / each) }, (_, i) => {
    const part = states.slice(i * each, (i + 1) * each);
    return Object.fromEntries(STATES.map((state) => [state, part.filter((one) => one === state).length])) as Record<SlotState, number>;
  });
}

const inked = (state: SlotState): Record<string, string> => (STRIPES[state] ? { fill: `url(#${state})` } : { class: state });

const patterns = (): SVGElement =>
  draw(
    'defs',
    {},
    ...Object.entries(STRIPES).map(([state, height]) => draw('pattern', { id: state, width: 1, height: STRIPE, patternUnits: 'userSpaceOnUse' }, draw('rect', { class: state, width: 1, height }))),
  );

/** `lastSlot` is the last one of the window. */
export function strip(slots: Slots, lastSlot: bigint): HTMLElement {
  const states = statesOf(slots);
  const columns = columnsOf(states);
  const each = BigInt(Math.max(1, Math.ceil(states.length / COLUMNS)));
  const total = (state: SlotState) => BigInt(states.filter((one) => one === state).length);
  const shapes = columns.flatMap((column, x) => {
    const sum = STATES.reduce((slots, state) => slots + column[state], 0);
    let y = HEIGHT;
    return STATES.filter((state) => column[state] > 0).map((state) => {
      const height = (HEIGHT * column[state]) / sum;
      y -= height;
      return draw('rect', { ...inked(state), x, y, width: 1, height });
    });
  });
  const said = STATES.filter((state) => total(state) > 0).map((state) => `${count(total(state))} ${state}`);
  const first = lastSlot - BigInt(states.length) + 1n;
  const legend = STATES.map((state) =>
    make('li', '', draw('svg', { class: 'swatch', viewBox: '0 0 12 12', 'aria-hidden': 'true' }, draw('rect', { ...inked(state), width: 12, height: 12 })) as Node, ` ${count(total(state))} ${state} `, make('span', 'muted', MEANING[state])),
  );
  return make(
    'figure',
    'stack',
    draw('svg', { class: 'strip', viewBox: `0 0 ${columns.length} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': `The window: ${said.join(', ')} slots` }, patterns(), ...shapes) as Node,
    make('div', 'ends small muted', make('span', '', slotTime(first)), make('span', '', slotTime(lastSlot + 1n))),
    make('ul', 'legend small', ...legend),
    make('figcaption', 'small muted', `${count(BigInt(states.length))} slots of ${SLOT_SECONDS} s; each column is ${duration(each)}.`),
  );
}
