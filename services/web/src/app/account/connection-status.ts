import { ChangeDetectionStrategy, Component, computed, inject } from '@angular/core';

import { GatewayClient } from '../connection/gateway-client';
import { connectionText } from './connection-text';

/** The state of the connection, and a button to reconnect now. */
@Component({
  selector: 'lb-connection-status',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `
    <p class="state" data-testid="connection" [attr.data-state]="text().state" [attr.title]="text().detail">
      <span class="dot" aria-hidden="true"></span>{{ text().text }}
    </p>
    <!-- Without numbers that change every second: a screen reader would announce each change. -->
    <p class="visually-hidden" role="status">Connection: {{ text().announcement ?? text().text }}</p>
    @if (text().state === 'ended' || text().state === 'reconnecting') {
      <button type="button" class="plain" (click)="client.retry()">Reconnect now</button>
    }
  `,
})
export class ConnectionStatus {
  protected readonly client = inject(GatewayClient);
  protected readonly text = computed(() => connectionText(this.client.session(), this.client.time()), {
    equal: (a, b) => a.state === b.state && a.text === b.text && a.detail === b.detail,
  });
}
