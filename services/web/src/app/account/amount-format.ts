/** Formats amounts in the user's language. `Intl` receives decimal strings, so amounts are never rounded. */

import { parts, sign, type Currency, type Money } from '@livebalance/client';

/** When a sign is shown: before debits only, or also a plus before credits. */
export type SignDisplay = 'negative' | 'always';

const MINUS = '\u2212';
const NARROW_NO_BREAK_SPACE = '\u202f';

export class AmountFormat {
  readonly #formats = new Map<string, Intl.NumberFormat>();

  constructor(readonly locale?: string) {}

  /** Formats an amount. The sign is a minus, not a hyphen, and stands apart from a currency that follows. */
  format(amount: Money, currency: Currency, signDisplay: SignDisplay = 'negative'): string {
    const format = this.#formatFor(currency, parts(amount).scale, signDisplay);
    const formatted = format.formatToParts(amount as unknown as Intl.StringNumericLiteral);
    return formatted.map((part, index) => readable(part, formatted[index + 1])).join('');
  }

  #formatFor(currency: Currency, scale: number, signDisplay: SignDisplay): Intl.NumberFormat {
    const key = `${currency ?? ''} ${scale} ${signDisplay}`;
    const cached = this.#formats.get(key);
    if (cached !== undefined) return cached;
    const created = createFormat(this.locale, currency, scale, signDisplay);
    this.#formats.set(key, created);
    return created;
  }
}

function readable(part: Intl.NumberFormatPart, next: Intl.NumberFormatPart | undefined): string {
  if (part.type !== 'minusSign' && part.type !== 'plusSign') return part.value;
  const signText = part.type === 'minusSign' ? MINUS : part.value;
  return next?.type === 'currency' ? signText + NARROW_NO_BREAK_SPACE : signText;
}

function createFormat(
  locale: string | undefined,
  currency: Currency,
  scale: number,
  signDisplay: SignDisplay,
): Intl.NumberFormat {
  const options: Intl.NumberFormatOptions = {
    minimumFractionDigits: scale,
    maximumFractionDigits: scale,
    signDisplay: signDisplay === 'always' ? 'exceptZero' : 'negative',
  };
  // Intl accepts only codes of three letters. An amount with another code is shown without currency.
  const supported = currency !== null && /^[A-Za-z]{3}$/.test(currency);
  return new Intl.NumberFormat(locale, supported ? { ...options, style: 'currency', currency } : options);
}

export function direction(amount: Money): 'credit' | 'debit' | 'none' {
  const amountSign = sign(amount);
  return amountSign > 0 ? 'credit' : amountSign < 0 ? 'debit' : 'none';
}

/** Returns an arrow in the direction of the amount, or nothing for zero. */
export function arrow(amount: Money): string {
  return { credit: '↑', debit: '↓', none: '' }[direction(amount)];
}
