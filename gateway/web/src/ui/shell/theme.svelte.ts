// Light or dark, as chosen or as the system has it; the spacing too.
import { settings } from '../../state/index.svelte.ts';

/** To be called once, by the root. */
export function useTheme(): void {
  const dark = matchMedia('(prefers-color-scheme: dark)');
  let systemDark = $state(dark.matches);
  dark.addEventListener('change', () => (systemDark = dark.matches));

  $effect.pre(() => {
    const root = document.documentElement;
    const theme = settings.theme === 'system' ? (systemDark ? 'dark' : 'light') : settings.theme;
    root.dataset['theme'] = theme;
    root.dataset['density'] = settings.density;
  });
}
