// Some changes want the password or a code again, so that nobody makes them at a desk left open. One question serves all that wait.
import { watchFactor } from './api/client';

class Factor {
  open = $state(false);
  #waiting: ((given: boolean) => void)[] = [];

  constructor() {
    watchFactor(() => this.ask());
  }

  /** True once it was given; false when the question was closed. */
  ask(): Promise<boolean> {
    this.open = true;
    return new Promise((settle) => this.#waiting.push(settle));
  }

  settle(given: boolean): void {
    this.open = false;
    for (const settle of this.#waiting.splice(0)) settle(given);
  }
}

export const factor = new Factor();
