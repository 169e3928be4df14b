import { ChangeDetectionStrategy, Component, inject } from '@angular/core';
import { RouterLink, RouterOutlet } from '@angular/router';

import { Choose } from './account/choose';
import { Account } from './account/store';
import { isDemo } from './connection/token';

@Component({
  selector: 'lb-app',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Choose, RouterLink, RouterOutlet],
  template: `
    <header class="bar">
      <a class="mark" routerLink="/" aria-label="Livebalance, all accounts">
        <img src="/favicon.svg" alt="" width="28" height="28" /><span>Livebalance</span>
      </a>
      @if (isDemo()) {
        <span class="demo" data-testid="demo" title="Whoever opens this page may see every account"
          >Demo: everyone sees everything</span
        >
      }
      @if (account.id() !== null) {
        <lb-choose />
      }
    </header>
    <router-outlet />
  `,
})
export class App {
  protected readonly account = inject(Account);
  protected readonly isDemo = isDemo;
}
