// What lies over the page, and whether the panel of details is open.

export type PageDialog =
  | { what: 'switcher' }
  | { what: 'direct' }
  | { what: 'create' }
  /** `profile`: at the name that one gives oneself. */
  | { what: 'settings'; profile?: true }
  | { what: 'invite'; room: string };

export type Panel = 'members' | 'pins' | 'about';

const PANEL_KEY = 'parlance.panel';
const LAST_KEY = 'parlance.last-room';

function stored(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function store(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    // A browser that keeps nothing: the page works, it only does not remember.
  }
}

let dialog = $state.raw<PageDialog | null>(null);
let panel = $state<Panel | null>(null);

/** Wide enough for three columns. */
export const WIDE = '(min-width: 1180px)';

export const page = {
  get dialog(): PageDialog | null {
    return dialog;
  },
  set dialog(next: PageDialog | null) {
    dialog = next;
  },
  get panel(): Panel | null {
    return panel;
  },
  set panel(next: Panel | null) {
    panel = next;
    if (matchMedia(WIDE).matches) store(PANEL_KEY, next ?? 'closed');
  },
  /** The room to begin with. */
  get lastRoom(): string | null {
    return stored(LAST_KEY);
  },
  set lastRoom(room: string) {
    store(LAST_KEY, room);
  },
};

/** On a wide page the panel is open unless it was closed. */
export function openPanel(): void {
  const kept = stored(PANEL_KEY);
  if (!matchMedia(WIDE).matches || kept === 'closed') panel = null;
  else panel = kept === 'pins' || kept === 'about' ? kept : 'members';
}
