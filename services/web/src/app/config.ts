/** Routes and providers of the application. */

import { APP_BASE_HREF } from '@angular/common';
import {
  provideBrowserGlobalErrorListeners,
  provideZonelessChangeDetection,
  type ApplicationConfig,
} from '@angular/core';
import {
  provideRouter,
  withComponentInputBinding,
  withInMemoryScrolling,
  type Routes,
} from '@angular/router';

import { AccountPage } from './account/account-page';
import { LandingPage } from './overview/landing-page';
import { wording } from './wording';

const routes: Routes = [
  { path: '', pathMatch: 'full', component: LandingPage, title: wording.product },
  { path: 'accounts/:id', component: AccountPage },
  { path: '**', redirectTo: '' },
];

export const config: ApplicationConfig = {
  providers: [
    provideZonelessChangeDetection(),
    provideBrowserGlobalErrorListeners(),
    // The content security policy forbids a <base> element.
    { provide: APP_BASE_HREF, useValue: '/' },
    provideRouter(
      routes,
      withComponentInputBinding(),
      withInMemoryScrolling({ scrollPositionRestoration: 'enabled' }),
    ),
  ],
};
