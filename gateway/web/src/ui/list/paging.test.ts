import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Paging } from './paging.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function listOf(answers: boolean[]): { paging: Paging; said: string[]; asks: () => number; look: () => Promise<void> } {
  const said: string[] = [];
  let asks = 0;
  const look = (): Promise<void> => paging.load(() => {
    asks += 1;
    return answers.shift() === true ? Promise.resolve() : Promise.reject(new Error('busy'));
  });
  const paging = new Paging((words) => said.push(words), () => void look());
  return { paging, said, asks: () => asks, look };
}

test('after a refusal it rests, longer each time, and says so once', async () => {
  const list = listOf([false, false, true, true, false]);
  await list.look();
  await list.look();
  expect([list.asks(), list.said]).toEqual([1, ['busy']]);
  await vi.advanceTimersByTimeAsync(4_999);
  expect(list.asks()).toBe(1);
  await vi.advanceTimersByTimeAsync(1);
  expect([list.asks(), list.said]).toEqual([2, ['busy']]);
  await vi.advanceTimersByTimeAsync(9_999);
  expect(list.asks()).toBe(2);
  await vi.advanceTimersByTimeAsync(1);
  expect(list.asks()).toBe(3);
  // A page came: what is refused after it is said again.
  await list.look();
  await list.look();
  expect([list.asks(), list.said]).toEqual([5, ['busy', 'busy']]);
});

test('a list that is gone asks for nothing and says nothing', async () => {
  const list = listOf([false, false]);
  await list.look();
  list.paging.end();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(list.asks()).toBe(1);
  const late = listOf([false]);
  const asked = late.look();
  late.paging.end();
  await asked;
  expect(late.said).toEqual([]);
});
