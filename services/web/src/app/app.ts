import { ChangeDetectionStrategy, Component, inject } from '@angular/core';
import { RouterLink, RouterOutlet } from '@angular/router';

import { AccountSearch } from './account/account-search';
import { AccountStore } from './account/account-store';
import { isDemo } from './connection/token';

/** The frame of every page: the header and the page of the current route. */
@Component({
  selector: 'lb-app',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [AccountSearch, RouterLink, RouterOutlet],
  template: `
    <header class="bar">
      <a class="brand" routerLink="/" aria-label="Livebalance: all accounts">
        <img src="/favicon.svg" alt="" width="28" height="28" /><span>Livebalance</span>
      </a>
      @if (isDemo()) {
        <span class="demo" data-testid="demo" title="Anyone who opens this page can see every account"
          >Demo: all accounts are public</span
        >
      }
      @if (account.id() !== null) {
        <lb-account-search />
      }
    </header>
    <router-outlet />
  `,
})
export class App {
  protected readonly account = inject(AccountStore);
  protected readonly isDemo = isDemo;
}
