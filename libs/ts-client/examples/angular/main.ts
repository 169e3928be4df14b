import { Component, DestroyRef, inject, provideZonelessChangeDetection, signal } from '@angular/core';
import { bootstrapApplication } from '@angular/platform-browser';
import { Client, type AccountView } from '@livebalance/client';

const client = new Client(location.origin, {
  token: async (signal) => (await (await fetch('/api/demo/token', { method: 'POST', signal })).json()).token,
});

@Component({
  selector: 'app-root',
  template: `
    <p id="balance" [class]="account()?.live ? 'live' : 'outdated'">{{ account()?.state?.balance?.amount ?? '–' }}</p>
    <ul>@for (row of account()?.state?.rows; track row.id) {<li>{{ row.id }} {{ row.amount }}</li>}</ul>
  `,
})
class App {
  protected readonly account = signal<AccountView | null>(null);

  constructor() {
    inject(DestroyRef).onDestroy(client.follow('acc-0001', (account) => this.account.set(account)));
  }
}

await bootstrapApplication(App, { providers: [provideZonelessChangeDetection()] });
