// Where members stand in their list: by what each was called when they came to it. What people call
// themselves becomes known, or changes, while somebody aims at a row, and no row moves for it.
import type { Member } from '../../state/types.ts';

export class Places {
  /** For what the places were taken: another list, or another word that is searched for, has new ones. */
  #of: string | null = null;
  readonly #names = new Map<string, string>();

  /** Those who fit, in their places. Who had one keeps it, and stays although they fit no more. */
  take(of: string, members: readonly Member[], fits: (member: Member) => boolean, nameOf: (member: Member) => string): Member[] {
    if (of !== this.#of) this.#names.clear();
    this.#of = of;
    const shown = members.filter((member) => this.#names.has(member.user.id) || fits(member));
    for (const member of shown) if (!this.#names.has(member.user.id)) this.#names.set(member.user.id, nameOf(member));
    return shown.sort((a, b) => collator.compare(this.#names.get(a.user.id) ?? '', this.#names.get(b.user.id) ?? ''));
  }
}

const collator = new Intl.Collator();
