import { ChangeDetectionStrategy, Component, Injector, afterNextRender, inject, signal } from '@angular/core';
import { NavigationEnd, Router, RouterLink, RouterOutlet } from '@angular/router';
import { distinctUntilChanged, filter, map, skip } from 'rxjs';

import { AccountSearch } from './account/account-search';
import { AccountStore } from './account/account-store';
import { isDemo } from './connection/token';
import { Announcer } from './frame/announcer';
import { KeysDialog } from './frame/keys-dialog';
import { shortcutKey } from './frame/shortcuts';
import { THEMES, ThemeStore } from './frame/theme';
import { WatchlistStore } from './overview/watchlist-store';
import { Trust } from './trust/trust';
import { wording } from './wording';

/** The frame of every page: the header and the page of the current route. */
@Component({
  selector: 'lb-app',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [AccountSearch, KeysDialog, RouterLink, RouterOutlet, Trust],
  host: { '(document:keydown)': 'handleKey($event)' },
  template: `
    <header class="bar">
      <a
        class="brand"
        routerLink="/"
        [fragment]="watchlist.fragment()"
        [attr.aria-label]="wording.allAccounts"
      >
        <img src="/favicon.svg" alt="" width="28" height="28" /><span>{{ product }}</span>
      </a>
      @if (isDemo()) {
        <span class="demo" data-testid="demo" [title]="wording.demoDetail">{{ wording.demo }}</span>
      }
      @if (account.id() !== null) {
        <lb-account-search />
      }
      <span class="tools">
        <select
          #theme
          [attr.aria-label]="wording.theme"
          data-testid="theme"
          (change)="themes.choose(theme.value)"
        >
          @for (name of themeNames; track name) {
            <option [value]="name" [selected]="name === themes.theme()">{{ wording.themes[name] }}</option>
          }
        </select>
        <button type="button" class="plain" [attr.aria-label]="wording.keys" (click)="keysShown.set(true)">
          ?
        </button>
      </span>
    </header>
    <lb-trust />
    <router-outlet />
    @if (keysShown()) {
      <lb-keys-dialog (closed)="keysShown.set(false)" />
    }
    <p class="visually-hidden" role="status" data-testid="announcer">{{ announcer.text() }}</p>
  `,
})
export class App {
  protected readonly product = wording.product;
  protected readonly wording = wording.frame;
  protected readonly account = inject(AccountStore);
  protected readonly watchlist = inject(WatchlistStore);
  protected readonly announcer = inject(Announcer);
  protected readonly themes = inject(ThemeStore);
  protected readonly themeNames = THEMES;
  protected readonly isDemo = isDemo;
  protected readonly keysShown = signal(false);

  constructor() {
    const injector = inject(Injector);
    inject(Router)
      .events.pipe(
        filter((event) => event instanceof NavigationEnd),
        map(({ url }) => url.split(/[?#]/)[0]),
        distinctUntilChanged(), // other filters or another watchlist are no other page
        skip(1), // the browser places the focus of the first page
      )
      .subscribe(() => {
        afterNextRender(focusContent, { injector });
      });
  }

  protected handleKey(event: KeyboardEvent): void {
    const key = shortcutKey(event);
    if (key === '?') this.keysShown.set(true);
    else if (key === '/') document.querySelector<HTMLElement>('#account-input')?.focus();
    else return;
    event.preventDefault();
  }
}

/** Moves the focus to what the user came back to, or to the heading, so that the keyboard continues there. */
function focusContent(): void {
  const target =
    document.querySelector<HTMLElement>('[data-returned]') ?? document.querySelector<HTMLElement>('h1');
  target?.focus({ preventScroll: true });
}
