import { ChangeDetectionStrategy, Component, computed, inject } from '@angular/core';

import { Connection } from '../connection/connection';
import { words } from './words';

/** The connection in words, and a way back where it does not come back by itself. */
@Component({
  selector: 'lb-connection-state',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `
    <p class="state" data-testid="connection" [attr.data-state]="words().state" [attr.title]="words().detail">
      <span class="dot" aria-hidden="true"></span>{{ words().text }}
    </p>
    <!-- Without the countdown, which would be read out every second. -->
    <p class="visually-hidden" role="status">Connection: {{ announced() }}</p>
    @if (words().state === 'ended' || words().state === 'reconnecting') {
      <button type="button" class="plain" (click)="connection.again()">Try now</button>
    }
  `,
})
export class ConnectionState {
  protected readonly connection = inject(Connection);
  protected readonly words = computed(() => words(this.connection.state(), this.connection.time()), {
    equal: (a, b) => a.state === b.state && a.text === b.text && a.detail === b.detail,
  });
  protected readonly announced = computed(() => {
    const { state, text, detail } = this.words();
    return state === 'reconnecting' ? `reconnecting, ${detail ?? 'connection lost'}` : text;
  });
}
