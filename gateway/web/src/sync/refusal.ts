// Why a call was not done. What the server refuses has its code; what did not reach it is `offline`.
import { isPassing } from './wire.ts';

export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly code: string;
  readonly retryAfterMs: number | null;
  readonly status: number;

  constructor(code: string, detail: string, retryAfterMs: number | null = null, status = 0) {
    super(detail);
    this.code = code;
    this.retryAfterMs = retryAfterMs;
    this.status = status;
  }

  static offline(detail = 'The server cannot be reached.'): Refusal {
    return new Refusal('offline', detail);
  }
}

/** Whether asking the same again can help. An unknown code is judged by its status, and by whether it names a time. */
export function passes({ code, retryAfterMs, status }: Refusal): boolean {
  return code === 'offline' || isPassing(code, retryAfterMs) || code === 'internal' || status === 429 || status >= 500;
}

export function asRefusal(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  return new Refusal('internal', error instanceof Error ? error.message : String(error));
}
