// A hint while typing; the manager decides what is accepted.

export const MIN_PASSWORD_LENGTH = 12;

export type Strength = { level: 0 | 1 | 2 | 3; word: string; hint: string };

/** Why a form does not take it, as a clause about the field. */
export function passwordError(password: string, username = ''): string | undefined {
  const { level, word, hint } = strength(password, username);
  if (level === 0) return `must have at least ${MIN_PASSWORD_LENGTH} characters`;
  return level === 1 ? `is ${word}: ${hint}` : undefined;
}

const COMMON = /password|passwort|qwert|asdf|letmein|welcome|admin|lucid|1234|abcd|iloveyou/i;

export function strength(password: string, username = ''): Strength {
  const length = [...password].length;
  if (length < MIN_PASSWORD_LENGTH) {
    const missing = MIN_PASSWORD_LENGTH - length;
    return { level: 0, word: 'too short', hint: `${missing} more character${missing === 1 ? '' : 's'} needed` };
  }
  const distinct = new Set(password.toLowerCase()).size;
  const classes = [/[a-z]/, /[A-Z]/, /\d/, /[^A-Za-z\d]/].filter((c) => c.test(password)).length;
  const namesUser = username.length >= 3 && password.toLowerCase().includes(username.toLowerCase());
  if (distinct < 6 || namesUser || (COMMON.test(password) && length < 20)) {
    return { level: 1, word: 'easy to guess', hint: 'avoid names, common words and repeats; four or more random words do well' };
  }
  if (length >= 20 || (length >= 16 && classes >= 2) || classes >= 4) return { level: 3, word: 'strong', hint: 'keep it in a password manager' };
  return { level: 2, word: 'fair', hint: 'longer is stronger: add a word' };
}
