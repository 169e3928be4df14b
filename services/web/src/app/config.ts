/** Routes and providers of the application. */

import { APP_BASE_HREF } from '@angular/common';
import {
  inject,
  provideBrowserGlobalErrorListeners,
  provideZonelessChangeDetection,
  type ApplicationConfig,
} from '@angular/core';
import {
  DefaultUrlSerializer,
  Router,
  UrlSerializer,
  provideRouter,
  withComponentInputBinding,
  withInMemoryScrolling,
  withNavigationErrorHandler,
  type Routes,
  type UrlTree,
} from '@angular/router';

import { wording } from './wording';

const overview = () => import('./overview/landing-page').then(({ LandingPage }) => LandingPage);
const account = () => import('./account/account-page').then(({ AccountPage }) => AccountPage);

const routes: Routes = [
  { path: '', pathMatch: 'full', title: wording.product, loadComponent: overview },
  { path: 'accounts/:id', loadComponent: account },
  { path: '**', redirectTo: '' },
];

/** Reads an address that a user has typed with a stray `%`, which the router would reject. */
class TolerantUrlSerializer extends DefaultUrlSerializer {
  override parse(url: string): UrlTree {
    try {
      return super.parse(url);
    } catch {
      return super.parse(url.replaceAll('%', '%25'));
    }
  }
}

export const config: ApplicationConfig = {
  providers: [
    provideZonelessChangeDetection(),
    provideBrowserGlobalErrorListeners(),
    // The content security policy forbids a <base> element.
    { provide: APP_BASE_HREF, useValue: '/' },
    { provide: UrlSerializer, useClass: TolerantUrlSerializer },
    provideRouter(
      routes,
      withComponentInputBinding(),
      withInMemoryScrolling({ scrollPositionRestoration: 'enabled' }),
      // After a deployment, a part of this page can be gone: the address is loaded anew. At the first navigation
      // that has just happened, and offline the browser would show a page of its own instead.
      withNavigationErrorHandler(({ url }) => {
        if (inject(Router).navigated && navigator.onLine) location.assign(url);
      }),
    ),
  ],
};
