// The first steps with a new manager: their order, their words, and which one comes next.
import type { SetupStep, SetupSteps } from './api/types';

export type StepWords = { step: SetupStep; title: string; why: string };

export const STEPS: readonly StepWords[] = [
  { step: 'account', title: 'First account', why: 'It may do everything, so it gets a good password.' },
  { step: 'clock', title: 'Clock', why: 'Operational time is measured by the manager’s clock. Nothing is counted or paid before it is trusted.' },
  { step: 'storage', title: 'Storage', why: 'Every report is kept on this machine. Is there room, and is the disk quick enough?' },
  { step: 'recovery_kit', title: 'Recovery kit', why: 'The way back when this machine is lost. Without the kit a backup cannot be opened.' },
  { step: 'network', title: 'Dry run', why: 'Payouts are worked out and booked, but no money leaves until you say so.' },
  { step: 'pool', title: 'First pool and price', why: 'Nodes live in pools, and a pool says what an hour of work earns.' },
  { step: 'enrol', title: 'First node', why: 'Run one command on a machine, and it appears here by itself.' },
];

/** Where the steps end: what was done, and where to go from here. */
export const FINISH = 'finish';
export type Place = SetupStep | typeof FINISH;

export const wordsOf = (step: SetupStep): StepWords | undefined => STEPS.find((words) => words.step === step);

/** The place a query of the address names. */
export function placeOf(text: string | null): Place | undefined {
  return text === FINISH ? FINISH : STEPS.find(({ step }) => step === text)?.step;
}

/** Where somebody goes on who comes back: the first open step. */
export function resumesAt(steps: SetupSteps['steps']): Place {
  return steps.find((s) => s.state === 'open')?.step ?? FINISH;
}

/** The steps beside a step; before the first is nothing, behind the last is the end. The account is made already. */
export function beside(step: SetupStep): { back: SetupStep | undefined; next: Place } {
  const at = STEPS.findIndex((words) => words.step === step);
  return { back: at > 1 ? STEPS[at - 1]?.step : undefined, next: STEPS[at + 1]?.step ?? FINISH };
}

/** Steps that nobody has to come back to, of all. */
export function progress(steps: SetupSteps['steps']): { done: number; skipped: number; open: number } {
  const count = (state: string) => steps.filter((s) => s.state === state).length;
  return { done: count('done'), skipped: count('skipped'), open: count('open') };
}

export const setupPath = (place: Place): string => `/setup?step=${place}`;
