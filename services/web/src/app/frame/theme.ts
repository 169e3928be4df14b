/** The theme of the page: that of the system, or the user's choice, which is kept over a reload. */

import { Injectable, signal } from '@angular/core';

export const THEMES = ['system', 'light', 'dark'] as const;
export type Theme = (typeof THEMES)[number];

/** `public/theme.js` reads it before the page is painted. */
const KEY = 'livebalance.theme';

@Injectable({ providedIn: 'root' })
export class ThemeStore {
  readonly theme = signal<Theme>(themeOf(document.documentElement.dataset['theme']));

  choose(name: string): void {
    const theme = themeOf(name);
    this.theme.set(theme);
    const { dataset } = document.documentElement;
    if (theme === 'system') delete dataset['theme'];
    else dataset['theme'] = theme;
    try {
      if (theme === 'system') localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, theme);
    } catch {
      // The user has blocked the storage of this site: the choice holds until the page is closed.
    }
  }
}

function themeOf(name: string | undefined): Theme {
  return THEMES.find((theme) => theme === name) ?? 'system';
}
