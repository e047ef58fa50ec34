// What every scenario has: Chromium, people at it, and the server. A scenario fails by what it throws, by
// an error on a page's console, or by a violation of the page's policy; it ends in time, and leaves
// nothing running.
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { chromium } from 'playwright-core';
import { Api } from './api.mjs';
import { Line } from './line.mjs';
import { Person } from './person.mjs';
import { PATIENCE_MS } from './until.mjs';

export { PASSWORD, Api } from './api.mjs';
export { until } from './until.mjs';

const BOUND_MS = 240_000;
/** Debian's own, never a downloaded one. */
const CHROMIUM = '/usr/bin/chromium';
const FLAGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--no-proxy-server',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];
/** A call that the server refused, or a line that is cut, is for the client to deal with. */
const EXPECTED = [
  { text: /^Failed to load resource: /, place: /^\/(api|ws)(\/|\?|$)/ },
  { text: /^WebSocket connection to /, place: null },
];

class Stage {
  url = needed('E2E_URL');
  cluster = process.env.E2E_CLUSTER ?? null;
  faults = [];
  #out = needed('E2E_OUT');
  #name;
  #lines = [];
  #people = [];
  #expected = [...EXPECTED];

  constructor(name, browser) {
    this.#name = name;
    this.browser = browser;
  }

  /** A page may complain so: it is what the scenario is about. */
  expects(complaint) {
    this.#expected.push(complaint);
  }

  /** The server without a browser. */
  api() {
    return new Api(this.url);
  }

  /** The server as its first administrator. */
  administrator() {
    return this.api().signIn(needed('E2E_ADMINISTRATOR'), needed('E2E_PASSWORD'));
  }

  administratorName = needed('E2E_ADMINISTRATOR');
  administratorPassword = needed('E2E_PASSWORD');

  async line() {
    const line = await Line.open(this.url);
    this.#lines.push(line);
    return line;
  }

  /** Somebody with a browser of their own: nothing is shared with others but the program. */
  async person(name, { line = null, theme = 'light', motion = 'reduce', touch = false, width = 1280, height = 800 } = {}) {
    const context = await this.browser.newContext({
      viewport: { width, height },
      colorScheme: theme,
      reducedMotion: motion,
      hasTouch: touch,
      isMobile: touch,
      locale: 'en-GB',
    });
    return this.#at(name, context, line?.url ?? this.url);
  }

  /** Somebody joins a room by another program, and goes to it when it is in their list. */
  async joins(person, room, name) {
    const own = await this.api().signIn(person.name);
    await own.call('POST', `/api/rooms/${room}/join`);
    await person.enter(name);
  }

  /** One more tab in somebody's browser. */
  tabOf(person) {
    return this.#at(person.name, person.page.context(), person.origin);
  }

  async #at(name, context, origin) {
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    await page.addInitScript(() => {
      addEventListener('securitypolicyviolation', (event) => {
        console.error(`POLICY: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`);
      });
    });
    page.on('console', (message) => {
      if (message.type() !== 'error' || this.#isExpected(message)) return;
      this.faults.push(`${name}'s console: ${message.text()} (${message.location().url})`);
    });
    page.on('pageerror', (error) => this.faults.push(`${name}'s page: ${error.stack ?? error.message}`));
    page.on('crash', () => this.faults.push(`${name}'s page crashed`));
    const person = new Person(name, page, origin);
    this.#people.push(person);
    return person;
  }

  #isExpected(message) {
    const url = message.location().url;
    const place = URL.canParse(url) ? new URL(url).pathname : '';
    return this.#expected.some((one) => one.text.test(message.text()) && (one.place === null || one.place.test(place)));
  }

  /** How everybody's page looks, kept outside of the tree, for who reads the failure. */
  async keepPages() {
    mkdirSync(this.#out, { recursive: true });
    for (const [number, { name, page }] of this.#people.entries()) {
      const file = path.join(this.#out, `${this.#name}-${number + 1}-${name}.png`);
      try {
        await page.screenshot({ path: file, timeout: 10_000 });
        console.log(`${name} saw: ${file} (${page.url()})`);
      } catch {
        // It may have crashed or be closed.
      }
    }
  }

  async end() {
    await this.browser.close();
    for (const line of this.#lines) line.close();
  }
}

function needed(name) {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set: node/tests/browser runs these scripts`);
  return value;
}

/** Plays one scenario, and ends the process by how it went. */
export async function scenario(name, play) {
  const late = setTimeout(() => {
    console.error(`${name}: not done after ${BOUND_MS / 1_000} s`);
    void fail(new Error('too late'));
  }, BOUND_MS);
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: FLAGS,
    headless: true,
  });
  const stage = new Stage(name, browser);

  let failed = false;
  async function fail(error) {
    if (failed) return;
    failed = true;
    console.error(`${name}: ${error.stack ?? error}`);
    for (const fault of stage.faults) console.error(`${name}: ${fault}`);
    await stage.keepPages();
    await stage.end();
    process.exit(1);
  }

  try {
    await play(stage);
    if (stage.faults.length > 0) throw new Error('a page complained');
  } catch (error) {
    return fail(error);
  }
  clearTimeout(late);
  await stage.end();
  console.log(`${name}: as it should be`);
}
