// One form being sent: busy, its error, and errors beside the fields. What was typed stays where it was typed.
import { untrack } from 'svelte';
import { asApiError, watchLine } from './api/client';
import { sentence } from './format';
import { live } from './live/live.svelte';
import { fieldsOf, listed } from './refusals';
import { session } from './session.svelte';

/** Forms that wait for their answer. */
const sending = new Set<Form>();
watchLine(() => sending.forEach((form) => (form.message = 'Connection lost; trying again. Nothing is lost.')));

export class Form {
  busy = $state(false);
  message = $state('');
  fields = $state.raw<Readonly<Record<string, string>>>({});
  /** The message names no reason: the fields do. */
  listed = $state(false);
  #unreached = false;

  /** Made while a component is set up. What a form says of the line, or of nobody being signed in, goes when that is over. */
  constructor() {
    $effect(() => {
      void session.generation;
      untrack(() => this.refuse({}));
    });
    $effect(() => {
      if (live.link.state === 'live' && this.#unreached) this.message = '';
    });
  }

  /** Runs `work` unless it is running already; true when it succeeded. */
  async send(work: () => Promise<void>): Promise<boolean> {
    if (this.busy) return false;
    this.busy = true;
    this.#unreached = false;
    sending.add(this);
    this.message = '';
    this.fields = {};
    try {
      await work();
      this.message = '';
      return true;
    } catch (caught) {
      const error = asApiError(caught);
      this.fields = fieldsOf(error.refusal, error.fields);
      this.listed = listed(error.refusal, error.fields);
      this.#unreached = error.unreachable;
      const after = error.unreachable ? ' Nothing you typed is lost: try again when the connection is back.' : '';
      const wait = error.retryAfterSeconds ? ` Try again in ${error.retryAfterSeconds} s.` : '';
      // A refusal says itself what it is: not every form has the field that it is about.
      this.message = this.listed ? 'Some fields need another look.' : `${sentence(error.message)}${after}${wait}`;
      return false;
    } finally {
      this.busy = false;
      sending.delete(this);
    }
  }

  /** Refuses before anything is sent. */
  refuse(fields: Record<string, string>): boolean {
    this.fields = fields;
    this.message = '';
    return Object.keys(fields).length > 0;
  }
}

/** What is typed into a form: an object of which each field is state, with the fields that it begins with. */
export function typed<T extends object>(begin: T): T {
  let now = $state.raw(begin);
  const draft = {} as T;
  for (const key of Object.keys(begin) as (keyof T)[]) Object.defineProperty(draft, key, { enumerable: true, get: () => now[key], set: (value) => (now = { ...now, [key]: value }) });
  return draft;
}
