// Before the client, and under a name that every release has. While a cluster is being upgraded, a page may
// come from a node of one release and its files be asked of a node of the other, which does not have them.
// Then the page is loaded anew, after growing pauses, until both are of one release.
(() => {
  const PAUSES_MS = [500, 1_000, 2_000, 4_000];
  const TRIES = 'parlance.boot';
  let failed = false;

  function hear({ target: part }) {
    const url = part instanceof HTMLScriptElement ? part.src : part instanceof HTMLLinkElement ? part.href : '';
    if (failed || !url.startsWith(`${location.origin}/assets/`)) return;
    failed = true;
    try {
      const tries = Number(sessionStorage.getItem(TRIES) ?? 0);
      const pause = PAUSES_MS[tries];
      if (pause !== undefined) {
        sessionStorage.setItem(TRIES, String(tries + 1));
        setTimeout(() => location.reload(), pause);
        return;
      }
    } catch {
      // Without a memory of the tries they would not end.
    }
    if (document.readyState === 'loading') addEventListener('DOMContentLoaded', giveUp);
    else giveUp();
  }

  function forget() {
    try {
      sessionStorage.removeItem(TRIES);
    } catch {
      // There is nothing to forget.
    }
  }

  function giveUp() {
    const text = document.createElement('p');
    text.textContent = 'This page could not be loaded. The server may be in the middle of an upgrade.';
    const again = document.createElement('button');
    again.textContent = 'Load it again';
    again.addEventListener('click', () => {
      forget();
      location.reload();
    });
    const box = document.createElement('div');
    box.setAttribute('role', 'alert');
    box.append(text, again);
    document.getElementById('app').replaceChildren(box);
  }

  addEventListener('error', hear, true);
  addEventListener('load', () => {
    // Parts that are asked for later are the client's own to deal with.
    removeEventListener('error', hear, true);
    if (!failed) forget();
  });
})();
