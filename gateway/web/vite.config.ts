// How the client is built and tested. The server embeds `dist`; its policy allows no inline script or style.
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

/** Where a node listens while the client is being worked on: `npm run dev` passes its calls on. */
const node = process.env['PARLANCE_NODE'] ?? 'http://127.0.0.1:8080';

export default defineConfig({
  plugins: [svelte()],
  build: {
    target: 'es2022',
    // Inlined assets would need `data:` in more places than the policy allows.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
  },
  server: {
    proxy: {
      '/api': { target: node },
      '/ws': { target: node, ws: true },
    },
  },
  // The tests run what the browser runs: Svelte's other build, for servers, has no reactivity.
  ...(process.env['VITEST'] === undefined ? {} : { ssr: { resolve: { conditions: ['browser'] } } }),
  test: {
    environment: 'node',
    include: ['src/**/*.test.ts'],
    testTimeout: 60_000,
  },
});
