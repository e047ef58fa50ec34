// The page begins: the state first, so that the connection is on its way while the page is drawn.
import { mount } from 'svelte';
import App from './App.svelte';
import { connection, start } from './state/index.svelte.ts';

// A part of the page that is no longer there: the server has a newer client. A reload brings it, but only
// one a minute, so that a page whose parts are missing for another reason does not reload without end.
const RELOADED = 'parlance.reloaded';
const RELOAD_PAUSE = 60_000;

addEventListener('vite:preloadError', () => {
  // Where the server is not reached, a reload would lose the page as well.
  if (connection.state !== 'online') return;
  try {
    const last = Number(sessionStorage.getItem(RELOADED) ?? 0);
    if (Math.abs(Date.now() - last) < RELOAD_PAUSE) return;
    sessionStorage.setItem(RELOADED, String(Date.now()));
  } catch {
    // Without a memory of the last time it is left to the user.
    return;
  }
  location.reload();
});

start();

const target = document.getElementById('app');
if (target === null) throw new Error('the page has no #app');
mount(App, { target });
