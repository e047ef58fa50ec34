// The page begins: the state first, so that the connection is on its way while the page is drawn.
import { mount } from 'svelte';
import App from './App.svelte';
import { start } from './state/index.svelte.ts';

start();

const target = document.getElementById('app');
if (target === null) throw new Error('the page has no #app');
mount(App, { target });
