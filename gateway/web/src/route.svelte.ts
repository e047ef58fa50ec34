// Where the page is: the client's own small router over the History API.

export type Route =
  | { page: 'home' }
  | { page: 'room'; room: string }
  | { page: 'browse' }
  | { page: 'settings' }
  | { page: 'admin' }
  | { page: 'sign-in' }
  | { page: 'register' };

/** Reads a path; anything unknown is the home page. */
export function readPath(path: string): Route {
  const [first = '', second = ''] = path.split('/').filter((part) => part !== '');
  if (first === 'r' && /^[0-9a-fA-F-]{36}$/.test(second)) return { page: 'room', room: second.toLowerCase() };
  if (first === 'browse' || first === 'settings' || first === 'admin' || first === 'sign-in' || first === 'register') {
    return { page: first };
  }
  return { page: 'home' };
}

/** The path of a route. */
export function pathOf(route: Route): string {
  if (route.page === 'room') return `/r/${route.room}`;
  return route.page === 'home' ? '/' : `/${route.page}`;
}

let current = $state.raw<Route>(readPath(globalThis.location?.pathname ?? '/'));

/** What is shown now. */
export const route = {
  get now(): Route {
    return current;
  },
};

/** Shows another page; `replace` leaves no trace in the history. */
export function go(to: Route, replace = false): void {
  const path = pathOf(to);
  if (path !== location.pathname) {
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
  go(readPath(new URL(link.href).pathname));
}

if (typeof window !== 'undefined') {
  window.addEventListener('popstate', () => {
    current = readPath(location.pathname);
  });
}
