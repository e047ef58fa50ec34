import { describe, expect, it } from 'vitest';
import { LIFE_AFTER, LIFE_WAIT, SLEPT } from './limits.ts';
import { Pulse } from './pulse.ts';

const HEARTBEAT = 30_000;

describe('the pulse', () => {
  it('asks a silent server for a sign of life and then gives it up', () => {
    const pulse = new Pulse(0, HEARTBEAT);
    expect(pulse.beat(0, null)).toEqual({ what: 'wait', until: HEARTBEAT });
    expect(pulse.beat(0, 0)).toEqual({ what: 'wait', until: LIFE_AFTER });
    expect(pulse.beat(LIFE_AFTER, 0)).toEqual({ what: 'ask' });
    const over = LIFE_AFTER + LIFE_WAIT;
    expect(pulse.beat(LIFE_AFTER, 0)).toEqual({ what: 'wait', until: over });
    expect(pulse.beat(over, 0)).toEqual({ what: 'dead' });
  });

  it('waits for a server that speaks, however late its answer is', () => {
    const pulse = new Pulse(0, HEARTBEAT);
    let now = 0;
    for (let i = 0; i < 10; i += 1) {
      pulse.heard(now);
      now += LIFE_AFTER;
      expect(pulse.beat(now, 0)).toEqual({ what: 'ask' });
      now += LIFE_WAIT / 2;
    }
  });

  it('says something in every heartbeat', () => {
    const pulse = new Pulse(0, HEARTBEAT);
    pulse.said(20_000);
    pulse.heard(20_000);
    expect(pulse.beat(HEARTBEAT, null)).toEqual({ what: 'wait', until: 50_000 });
    expect(pulse.beat(50_000, null)).toEqual({ what: 'ask' });
  });

  it('asks again after a sleep instead of calling the server dead', () => {
    const pulse = new Pulse(0, HEARTBEAT);
    pulse.beat(HEARTBEAT, null);
    expect(pulse.beat(HEARTBEAT, null)).toEqual({ what: 'wait', until: HEARTBEAT + LIFE_WAIT });
    const late = HEARTBEAT + LIFE_WAIT + SLEPT + 1;
    expect(pulse.beat(late, null)).toEqual({ what: 'ask' });
    expect(pulse.beat(late, null)).toEqual({ what: 'wait', until: late + LIFE_WAIT });
    expect(pulse.beat(late + LIFE_WAIT, null)).toEqual({ what: 'dead' });
  });

  it('asks at once when the page wakes', () => {
    const pulse = new Pulse(0, HEARTBEAT);
    pulse.wake();
    expect(pulse.beat(5, null)).toEqual({ what: 'ask' });
  });
});
