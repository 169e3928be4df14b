import { ChangeDetectionStrategy, Component, Injector, afterNextRender, inject } from '@angular/core';
import { NavigationEnd, Router, RouterLink, RouterOutlet } from '@angular/router';
import { distinctUntilChanged, filter, map, skip } from 'rxjs';

import { AccountSearch } from './account/account-search';
import { AccountStore } from './account/account-store';
import { isDemo } from './connection/token';
import { wording } from './wording';

/** The frame of every page: the header and the page of the current route. */
@Component({
  selector: 'lb-app',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [AccountSearch, RouterLink, RouterOutlet],
  template: `
    <header class="bar">
      <a class="brand" routerLink="/" [attr.aria-label]="wording.allAccounts">
        <img src="/favicon.svg" alt="" width="28" height="28" /><span>{{ product }}</span>
      </a>
      @if (isDemo()) {
        <span class="demo" data-testid="demo" [title]="wording.demoDetail">{{ wording.demo }}</span>
      }
      @if (account.id() !== null) {
        <lb-account-search />
      }
    </header>
    <router-outlet />
  `,
})
export class App {
  protected readonly product = wording.product;
  protected readonly wording = wording.frame;
  protected readonly account = inject(AccountStore);
  protected readonly isDemo = isDemo;

  constructor() {
    const injector = inject(Injector);
    inject(Router)
      .events.pipe(
        filter((event) => event instanceof NavigationEnd),
        map(({ url }) => url.split(/[?#]/)[0]),
        distinctUntilChanged(), // other parameters show no other page
        skip(1), // the browser places the focus of the first page
      )
      .subscribe(() => {
        afterNextRender(focusContent, { injector });
      });
  }
}

/** Moves the focus to what the user came back to, or to the heading, so that the keyboard continues there. */
function focusContent(): void {
  const target =
    document.querySelector<HTMLElement>('[data-returned]') ?? document.querySelector<HTMLElement>('h1');
  target?.focus({ preventScroll: true });
}
