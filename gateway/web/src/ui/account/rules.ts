// What the server asks of names, passwords and profiles, said before it refuses them.

/** Characters of what people call themselves and say of themselves, as the server has it. */
export const NAME_MAX = 50;
export const ABOUT_MAX = 200;

export interface Rule {
  words: string;
  holds: boolean;
}

/** A sentence about what is wrong with a name; empty when nothing is. */
export function nameFault(name: string): string {
  if (name === '') return 'Choose a name.';
  if (/[^A-Za-z0-9_-]/.test(name)) return 'A name has letters (a–z), digits, “_” and “-” only.';
  if (name.length < 3) return 'A name has at least 3 characters.';
  if (name.length > 50) return 'A name has at most 50 characters.';
  return '';
}

/** The rules of a new password, each with whether it holds. */
export function passwordRules(password: string): Rule[] {
  const length = [...password].length;
  return [
    { words: length > 128 ? 'at most 128 characters' : 'at least 8 characters', holds: length >= 8 && length <= 128 },
    { words: 'a capital letter', holds: /\p{Lu}/u.test(password) },
    { words: 'a small letter', holds: /\p{Ll}/u.test(password) },
    { words: 'a digit', holds: /\p{Nd}/u.test(password) },
  ];
}

export function passwordHolds(password: string): boolean {
  return passwordRules(password).every((rule) => rule.holds);
}

/** How many characters a text has too many. */
export function excess(text: string, max: number): number {
  return Math.max(0, [...text].length - max);
}

interface Refused {
  code: string;
  message: string;
  retryAfterMs: number | null;
}

/** Why signing in did not work, for a person. */
export function signInFault(error: Refused): string {
  if (error.code === 'unauthenticated') return 'The name or the password is wrong.';
  if (error.code === 'rate_limited' || error.code === 'locked_out') {
    return `Too many tries. Try again ${after(error.retryAfterMs)}.`;
  }
  if (error.code === 'offline') return 'The server cannot be reached. Check the connection and try again.';
  return sentence(error.message);
}

function after(ms: number | null): string {
  if (ms === null) return 'in a little while';
  const seconds = Math.max(1, Math.ceil(ms / 1000));
  if (seconds < 90) return `in ${seconds} ${seconds === 1 ? 'second' : 'seconds'}`;
  return `in ${Math.ceil(seconds / 60)} minutes`;
}

/** The server's words as a sentence. */
export function sentence(text: string): string {
  if (text === '') return 'Something went wrong.';
  const first = text[0]!.toUpperCase() + text.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}
