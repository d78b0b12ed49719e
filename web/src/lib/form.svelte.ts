// One form being sent: busy, its error, and errors beside the fields. What was typed stays where it was typed.
import { asApiError } from './api/client';
import { sentence } from './format';

/** Refusals that are about one field of the form, whichever route answers them. */
const WRONG: Record<string, string | undefined> = { FreshFactorNeeded: 'password', SetupCodeWrong: 'code' };

export class Form {
  busy = $state(false);
  message = $state('');
  fields = $state.raw<Readonly<Record<string, string>>>({});

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
      const wrong = WRONG[error.refusal];
      this.fields = wrong ? { [wrong]: 'is wrong' } : error.fields;
      const wait = error.retryAfterSeconds ? ` Try again in ${error.retryAfterSeconds} s.` : '';
      this.message = Object.keys(this.fields).length > 0 ? 'Some fields need another look.' : `${sentence(error.message)}${wait}`;
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
