import { expect, test } from 'vitest';
import { Pointed } from './pointed.ts';

const at = (screenX: number, timeStamp: number): { screenX: number; screenY: number; timeStamp: number } => ({ screenX, screenY: 5, timeStamp });

test('what the mouse comes to is pointed at, what comes to the mouse is not before it moves', () => {
  const mouse = new Pointed();
  expect([mouse.over(at(1, 0)), mouse.moved(at(2, 10)), mouse.over(at(3, 20))]).toEqual([true, false, true]);
  expect([mouse.over(at(3, 500)), mouse.moved(at(3, 510)), mouse.moved(at(4, 520)), mouse.moved(at(5, 530))]).toEqual([false, false, true, false]);
});

test('what comes by the wheel is pointed at', () => {
  const mouse = new Pointed();
  mouse.over(at(1, 0));
  mouse.wheeled({ timeStamp: 100 });
  expect([mouse.over(at(1, 200)), mouse.over(at(1, 900))]).toEqual([true, false]);
});
