// Whether the password is asked for again, and what had the focus before somebody wanted that.

let asking = $state(false);
let before: HTMLElement | null = null;

export const again = {
  get asking(): boolean {
    return asking;
  },
  /** The focus comes from here to the bar that offers it. */
  from(one: EventTarget | null, bar: HTMLElement): void {
    const isOutside = one instanceof HTMLElement && !bar.contains(one);
    // What the password was asked in is no place to go back to.
    if (isOutside && one.closest('dialog') === bar.closest('dialog')) before = one;
  },
  ask(): void {
    asking = true;
  },
  end(): void {
    asking = false;
  },
  /** Whoever was writing writes on. */
  goBack(): void {
    if (before?.isConnected === true) before.focus({ preventScroll: true });
    before = null;
  },
};
