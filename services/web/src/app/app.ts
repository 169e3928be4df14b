import { ChangeDetectionStrategy, Component, inject } from '@angular/core';
import { RouterLink, RouterOutlet } from '@angular/router';

import { Choose } from './account/choose';
import { Account } from './account/store';

@Component({
  selector: 'lb-app',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Choose, RouterLink, RouterOutlet],
  template: `
    <header class="bar">
      <a class="mark" routerLink="/" aria-label="Livebalance, all accounts">
        <img src="/favicon.svg" alt="" width="28" height="28" /><span>Livebalance</span>
      </a>
      @if (account.id() !== null) {
        <lb-choose />
      }
    </header>
    <router-outlet />
  `,
})
export class App {
  protected readonly account = inject(Account);
}
