// The line between one browser and the server, which can be cut: what is open breaks off, and nothing
// comes through until it is whole again. The browser itself does not know.
import net from 'node:net';

export class Line {
  #server;
  #sockets = new Set();
  #cut = false;

  /** A line to the server at `url`. */
  static async open(url) {
    const to = new URL(url);
    const line = new Line();
    line.#server = net.createServer((near) => line.#pass(near, to));
    await new Promise((done) => line.#server.listen(0, '127.0.0.1', done));
    line.url = `http://127.0.0.1:${line.#server.address().port}`;
    return line;
  }

  #pass(near, to) {
    if (this.#cut) return void near.destroy();
    const far = net.connect(Number(to.port), to.hostname);
    for (const [one, other] of [[near, far], [far, near]]) {
      one.setNoDelay(true);
      this.#sockets.add(one);
      one.on('close', () => {
        this.#sockets.delete(one);
        other.destroy();
      });
      // The other side is told by the close.
      one.on('error', () => {});
      one.pipe(other);
    }
  }

  cut() {
    this.#cut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  mend() {
    this.#cut = false;
  }

  close() {
    this.cut();
    this.#server.close();
  }
}
