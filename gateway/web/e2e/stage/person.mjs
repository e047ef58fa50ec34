// Somebody at a browser, who finds things by what they are called.
import { PASSWORD } from './api.mjs';
import { PATIENCE_MS, until } from './until.mjs';

export class Person {
  constructor(name, page, origin) {
    this.name = name;
    this.page = page;
    this.origin = origin;
  }

  open(path) {
    return this.page.goto(this.origin + path);
  }

  async register() {
    await this.open('/register');
    await this.#fillAccount('Create account');
    await this.isIn();
  }

  async signIn(password = PASSWORD) {
    await this.open('/sign-in');
    await this.#fillAccount('Sign in', password);
    await this.isIn();
  }

  async #fillAccount(button, password = PASSWORD) {
    await this.page.getByLabel('Username', { exact: true }).fill(this.name);
    await this.page.getByLabel('Password', { exact: true }).fill(password);
    await this.page.getByRole('button', { name: button }).click();
  }

  /** Signed in, and the list of rooms is there. */
  isIn() {
    return this.rooms().waitFor({ timeout: PATIENCE_MS });
  }

  rooms() {
    return this.page.getByRole('navigation', { name: 'Rooms and conversations' });
  }

  async createRoom(name, kind = 'Public') {
    await this.page.getByRole('button', { name: 'New room' }).first().click();
    const dialog = this.page.getByRole('dialog', { name: 'New room' });
    await dialog.getByLabel('Name', { exact: true }).fill(name);
    await dialog.getByRole('radio', { name: kind }).check();
    await dialog.getByRole('button', { name: 'Create room' }).click();
    await this.isInRoom(name);
    return this.page.url().split('/r/')[1];
  }

  async enter(name) {
    await this.rooms().getByRole('link', { name }).click();
    await this.isInRoom(name);
  }

  /** What stands beside the conversation. */
  panel(title) {
    return this.page.getByRole('complementary', { name: title });
  }

  composer(room) {
    return this.page.getByRole('textbox', { name: `Message ${room}` });
  }

  isInRoom(name) {
    return this.composer(name).waitFor({ timeout: PATIENCE_MS });
  }

  /** Types a message and sends it by Enter. */
  async say(room, text) {
    const box = this.composer(room);
    await box.fill(text);
    await box.press('Enter');
  }

  messages() {
    return this.page.getByRole('region', { name: 'Messages' });
  }

  row(text) {
    return this.messages().getByRole('listitem').filter({ hasText: text });
  }

  /** A message is there, and it is not on its way any more. */
  async sees(text) {
    const row = this.row(text);
    await row.first().waitFor({ timeout: PATIENCE_MS });
    await until(`"${text}" is sent`, async () => (await row.first().getAttribute('data-seq')) !== null);
  }

  /** What is drawn now, in the order of the page. */
  drawn() {
    return this.messages().evaluate((view) => [...view.querySelectorAll('[data-key]')].map((row) => ({
      key: row.dataset.key,
      seq: row.dataset.seq === undefined ? null : Number(row.dataset.seq),
      body: row.querySelector('.text')?.innerText ?? null,
    })));
  }

  /**
   * Everything in the conversation, by scrolling through it from its beginning to its end. Whatever is
   * drawn at one time must be in order, and every message has one place.
   */
  async readAll() {
    const all = new Map();
    const view = this.messages();
    let still = 0;
    for (let at = -1; still < 3;) {
      const now = await view.evaluate((box) => box.scrollTop);
      still = now === 0 && now === at ? still + 1 : 0;
      at = now;
      await view.evaluate((box) => {
        box.scrollTop = Math.max(0, box.scrollTop - box.clientHeight);
        return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
      });
      await this.isCalm();
    }
    for (;;) {
      const rows = await this.drawn();
      const unsent = rows.findIndex((row) => row.seq === null);
      const sent = unsent < 0 ? rows : rows.slice(0, unsent);
      sent.forEach((row, place) => {
        if (place > 0 && row.seq <= sent[place - 1].seq) throw new Error(`${row.seq} stands after ${sent[place - 1].seq}`);
        const held = all.get(row.seq);
        if (held !== undefined && held.key !== row.key) throw new Error(`${row.seq} is there twice: "${held.body}", "${row.body}"`);
        all.set(row.seq, row);
      });
      const atEnd = await view.evaluate(async (box) => {
        if (box.scrollHeight - box.scrollTop - box.clientHeight < 2) return true;
        box.scrollTop += box.clientHeight * 0.8;
        await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
        return false;
      });
      await this.isCalm();
      if (atEnd) break;
    }
    return [...all.values()].sort((one, other) => one.seq - other.seq);
  }

  /** No page of older messages is on its way. */
  isCalm() {
    return until('older messages are there', async () => (await this.page.getByText(/^Loading (older )?messages/).count()) === 0);
  }
}
