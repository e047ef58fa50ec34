import { describe, expect, it } from 'vitest';
import { pathOf, readPath, type Route } from './route.svelte.ts';

const ROOM = '0198a0c1-5e00-7000-8000-00000000000a';

describe('paths', () => {
  it('are read as they were written', () => {
    const routes: Route[] = [
      { page: 'home' }, { page: 'browse' }, { page: 'mentions' }, { page: 'settings' },
      { page: 'room', room: ROOM }, { page: 'room', room: ROOM, at: 58 },
    ];
    for (const route of routes) {
      const { pathname, search } = new URL(pathOf(route), 'http://x');
      expect(readPath(pathname, search)).toEqual(route);
    }
  });

  it('that nobody wrote lead to what is there', () => {
    expect(readPath('/elsewhere')).toEqual({ page: 'home' });
    for (const at of ['0', '-1', 'x', '1e9', '9'.repeat(30)]) {
      expect(readPath(`/r/${ROOM}`, `?at=${at}`)).toEqual({ page: 'room', room: ROOM });
    }
  });
});
