// A small chat on Socket.IO as its documents build one: rooms, an event to join, one to post, and a
// broadcast to the room, whose sender hears it too. From the environment: PORT; ADAPTER=redis with
// REDIS_URL; STORE=postgres with DATABASE_URL, where a message is committed before it is shown.
// It checks no rights, keeps no order between inserts and broadcasts, and replays nothing.

import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { Redis } from "ioredis";
import pg from "pg";
import { Server } from "socket.io";

const { PORT, ADAPTER, REDIS_URL, STORE, DATABASE_URL } = process.env;

const http = createServer();
// Its defaults: no compression of messages, pings every 25 s.
const io = new Server(http, { serveClient: false });

if (ADAPTER === "redis") {
  // ioredis writes each message at once. The `redis` package hands over 16 KiB in each turn of the event
  // loop, so that under full load most of them would only wait in this process.
  const publisher = new Redis(REDIS_URL);
  io.adapter(createAdapter(publisher, publisher.duplicate()));
}

let insert;
if (STORE === "postgres") {
  const pool = new pg.Pool({ connectionString: DATABASE_URL });
  await pool.query(
    `CREATE TABLE IF NOT EXISTS messages (
       id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
       room text NOT NULL, sender text NOT NULL, body text NOT NULL,
       at timestamptz NOT NULL DEFAULT now())`,
  );
  await pool.query("CREATE INDEX IF NOT EXISTS messages_of_a_room ON messages (room, id)");
  insert = async (values) => {
    // A name makes it a prepared statement of each connection.
    const text = "INSERT INTO messages (room, sender, body) VALUES ($1, $2, $3) RETURNING id";
    return (await pool.query({ name: "insert", text, values })).rows[0].id;
  };
}

io.on("connection", (socket) => {
  const from = socket.handshake.auth.name;
  let room;
  socket.on("join", async (name, joined) => {
    room = name;
    await socket.join(room);
    joined();
  });
  socket.on("post", async (body, posted) => {
    if (!insert) {
      io.to(room).emit("message", { room, from, body, at: Date.now() });
      return;
    }
    try {
      const id = await insert([room, from, body]);
      io.to(room).emit("message", { id, room, from, body, at: Date.now() });
      posted(id);
    } catch (error) {
      console.error(error);
      posted(null);
    }
  });
});

http.listen({ port: Number(PORT), host: "127.0.0.1", backlog: 1024 }, () => console.log("listening"));
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(0));
