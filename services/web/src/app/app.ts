import { ChangeDetectionStrategy, Component, Injector, afterNextRender, inject, signal } from '@angular/core';
import { NavigationEnd, Router, RouterLink, RouterOutlet } from '@angular/router';

import { isDemo } from './connection/token';
import { Announcer } from './frame/announcer';
import { KeysDialog } from './frame/keys-dialog';
import { Lazy } from './frame/lazy';
import { shortcutKey } from './frame/shortcuts';
import { THEMES, ThemeStore } from './frame/theme';
import { wording } from './wording';

/**
 * The frame of every page: the header and the page of the current route.
 *
 * It is the first paint, so it needs no client of the gateway: what needs one is loaded after it.
 */
@Component({
  selector: 'lb-app',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [KeysDialog, Lazy, RouterLink, RouterOutlet],
  host: { '(document:keydown)': 'handleKey($event)' },
  template: `
    <header class="bar">
      <a class="brand" routerLink="/" [fragment]="watchlist()" [attr.aria-label]="wording.allAccounts">
        <img src="/favicon.svg" alt="" width="28" height="28" /><span>{{ product }}</span>
      </a>
      @if (isDemo()) {
        <span class="demo" data-testid="demo" [title]="wording.demoDetail">{{ wording.demo }}</span>
      }
      @if (path().startsWith('/accounts/')) {
        <lb-lazy class="search-place" [load]="search" />
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
    <lb-lazy class="trust-place" [load]="trust" />
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
  protected readonly announcer = inject(Announcer);
  protected readonly themes = inject(ThemeStore);
  protected readonly themeNames = THEMES;
  protected readonly isDemo = isDemo;
  protected readonly keysShown = signal(false);
  protected readonly search = async () => (await import('./account/account-search')).AccountSearch;
  protected readonly trust = async () => (await import('./trust/trust-panel')).TrustPanel;
  /** The path of the shown page; empty until there is a page. */
  protected readonly path = signal('');
  /** The watchlist is the fragment of the overview's address. It is kept for the link back. */
  protected readonly watchlist = signal<string | undefined>(undefined);
  readonly #injector = inject(Injector);
  readonly #router = inject(Router);

  constructor() {
    this.#router.events.subscribe((event) => {
      if (event instanceof NavigationEnd) this.#arrive(event.urlAfterRedirects);
    });
  }

  protected handleKey(event: KeyboardEvent): void {
    const key = shortcutKey(event);
    if (key === '?') this.keysShown.set(true);
    else if (key === '/') document.querySelector<HTMLElement>('#account-input')?.focus();
    else return;
    event.preventDefault();
  }

  #arrive(url: string): void {
    const [path = ''] = url.split(/[?#]/);
    if (path === '/') this.watchlist.set(this.#router.parseUrl(url).fragment ?? undefined);
    if (path === this.path()) return; // other filters or another watchlist are no other page
    // The browser places the focus of the first page.
    if (this.path() !== '') afterNextRender(focusContent, { injector: this.#injector });
    this.path.set(path);
  }
}

/** Moves the focus to what the user came back to, or to the heading, so that the keyboard continues there. */
function focusContent(): void {
  const target =
    document.querySelector<HTMLElement>('[data-returned]') ?? document.querySelector<HTMLElement>('h1');
  target?.focus({ preventScroll: true });
}
