// Where the page is: the client's own small router over the History API.

export type Route =
  | { page: 'home' }
  /** `at`: the message to begin with. */
  | { page: 'room'; room: string; at?: number }
  | { page: 'browse' }
  | { page: 'mentions' }
  | { page: 'settings' }
  | { page: 'admin' }
  | { page: 'sign-in' }
  | { page: 'register' };

const PAGES = ['browse', 'mentions', 'settings', 'admin', 'sign-in', 'register'] as const;

/** Reads a path and what follows its `?`; anything unknown is the home page. */
export function readPath(path: string, search = ''): Route {
  const [first = '', second = ''] = path.split('/').filter((part) => part !== '');
  if (first === 'r' && /^[0-9a-fA-F-]{36}$/.test(second)) {
    const room = second.toLowerCase();
    const at = new URLSearchParams(search).get('at') ?? '';
    return /^[1-9][0-9]{0,14}$/.test(at) ? { page: 'room', room, at: Number(at) } : { page: 'room', room };
  }
  const page = PAGES.find((name) => name === first);
  return { page: page ?? 'home' };
}

function here(): Route {
  return readPath(location.pathname, location.search);
}

/** The path of a route. */
export function pathOf(route: Route): string {
  if (route.page === 'room') return `/r/${route.room}${route.at === undefined ? '' : `?at=${route.at}`}`;
  return route.page === 'home' ? '/' : `/${route.page}`;
}

let current = $state.raw<Route>(typeof location === 'undefined' ? { page: 'home' } : here());

/** What is shown now. */
export const route = {
  get now(): Route {
    return current;
  },
};

/** Shows another page; `replace` leaves no trace in the history. */
export function go(to: Route, replace = false): void {
  const path = pathOf(to);
  if (path !== location.pathname + location.search) {
    if (replace) history.replaceState(null, '', path);
    else history.pushState(null, '', path);
  }
  current = to;
}

/** For links: a plain click stays in the page; with a modifier the browser does as always. */
export function follow(event: MouseEvent): void {
  const link = (event.currentTarget as HTMLElement).closest('a');
  if (link === null || event.defaultPrevented || event.button !== 0) return;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  const { pathname, search } = new URL(link.href);
  go(readPath(pathname, search));
}

if (typeof window !== 'undefined') {
  window.addEventListener('popstate', () => {
    current = here();
  });
}
