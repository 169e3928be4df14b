import { Injectable, computed, inject } from '@angular/core';

import { GatewayClient } from '../connection/gateway-client';
import { formatDate } from './dates';

/** The reader's date, which changes at midnight while the page is open. */
@Injectable({ providedIn: 'root' })
export class Today {
  readonly #time = inject(GatewayClient).time;
  readonly date = computed(() => {
    this.#time(); // checks the date again every second
    return formatDate(Date.now());
  });
}
