// The part of the server that knows what people call themselves, with its bounds.
import { PEOPLE_BATCH } from '../limits.ts';
import type { Account, Profile, ProfileChange } from '../wire.ts';

const NAME_MAX = 50;
const ABOUT_MAX = 200;
/** What breaks the line, changes the direction of text, is no character, or is not seen. */
const REFUSED = new RegExp(
  '[\\p{Cc}\\p{Noncharacter_Code_Point}\\u2028\\u2029\\u061C\\u200E\\u200F\\u202A-\\u202E\\u200B\\u2060-\\u206F\\uFEFF\\uFFF9-\\uFFFB\\u{E0000}-\\u{E0FFF}' +
    '\\u00AD\\u034F\\u115F\\u1160\\u17B4\\u17B5\\u180E\\u2800\\u3164\\uFFA0]',
  'u',
);
/** Joiners and variation selectors may be in a name, but make no other one of it. */
const IGNORED = /[\u200C\u200D\uFE00-\uFE0F]/g;

export class Registry {
  readonly #users: ReadonlyMap<string, Account>;
  readonly #set = new Map<string, { name?: string; about?: string }>();

  constructor(users: ReadonlyMap<string, Account>) {
    this.#users = users;
  }

  of({ id, username }: Account): Profile {
    return { id, username, ...this.#set.get(id) };
  }

  /** `PATCH /api/me`. */
  change(account: Account, change: ProfileChange): Response {
    const name = change.name?.trim() ?? '';
    const about = change.about?.trim() ?? '';
    if ([...name].length > NAME_MAX || REFUSED.test(name)) return refused(400, 'bad_request', 'a name has 1 to 50 characters');
    if ([...about].length > ABOUT_MAX || REFUSED.test(about)) return refused(400, 'bad_request', 'the line about you has up to 200 characters');
    const compared = name.replace(IGNORED, '').toLowerCase();
    const isTaken = [...this.#users.values()].some((one) => one.id !== account.id && one.username.toLowerCase() === compared);
    if (isTaken) return refused(409, 'name_taken', 'this is the username of somebody else');
    const set = { ...this.#set.get(account.id) };
    if (change.name !== undefined) set.name = name;
    if (change.about !== undefined) set.about = about;
    if (set.name === '') delete set.name;
    if (set.about === '') delete set.about;
    this.#set.set(account.id, set);
    return Response.json({ ...account, admin: false, ...set });
  }

  /** `GET /api/users`, by ids or by how a name begins, and `GET /api/users/{id}`. */
  answer(url: URL): Response {
    const one = /^\/api\/users\/([^/]+)$/.exec(url.pathname)?.[1];
    if (one !== undefined) {
      const user = this.#users.get(one);
      return user === undefined ? refused(404, 'not_found', 'no such person') : Response.json(this.of(user));
    }
    const ids = url.searchParams.get('ids')?.split(',');
    if (ids !== undefined) {
      if (ids.length > PEOPLE_BATCH || ids.includes('')) return refused(400, 'bad_request', '1 to 100 ids');
      const found = ids.map((id) => this.#users.get(id)).filter((user) => user !== undefined);
      return Response.json({ users: found.map((user) => this.of(user)).reverse() });
    }
    const prefix = (url.searchParams.get('prefix') ?? '').toLowerCase();
    const limit = Number(url.searchParams.get('limit') ?? 20);
    const begins = ({ username, name = '' }: Profile): boolean => [username, name].some((each) => each.toLowerCase().startsWith(prefix));
    const found = [...this.#users.values()].map((user) => this.of(user)).filter(begins);
    return Response.json({ users: found.slice(0, limit) });
  }
}

function refused(status: number, code: string, detail: string): Response {
  return Response.json({ code, detail }, { status });
}
