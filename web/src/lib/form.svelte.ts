// One form being sent: busy, its error, and errors beside the fields. What was typed stays where it was typed.
import { asApiError } from './api/client';
import { sentence } from './format';
import { fieldsOf } from './refusals';

export class Form {
  busy = $state(false);
  message = $state('');
  fields = $state.raw<Readonly<Record<string, string>>>({});
  /** The message names no reason: the fields do. */
  listed = $state(false);

  /** Runs `work` unless it is running already; true when it succeeded. */
  async send(work: () => Promise<void>): Promise<boolean> {
    if (this.busy) return false;
    this.busy = true;
    this.message = '';
    this.fields = {};
    try {
      await work();
      return true;
    } catch (caught) {
      const error = asApiError(caught);
      this.fields = fieldsOf(error.refusal, error.fields);
      this.listed = Object.keys(error.fields).length > 0;
      const wait = error.retryAfterSeconds ? ` Try again in ${error.retryAfterSeconds} s.` : '';
      // A refusal says itself what it is: not every form has the field that it is about.
      this.message = this.listed ? 'Some fields need another look.' : `${sentence(error.message)}${wait}`;
      return false;
    } finally {
      this.busy = false;
    }
  }

  /** Refuses before anything is sent. */
  refuse(fields: Record<string, string>): boolean {
    this.fields = fields;
    this.message = '';
    return Object.keys(fields).length > 0;
  }
}
