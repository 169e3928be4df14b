/** Readers of unknown JSON: a value of the type, or `Misfit` thrown. Fields nobody asked for are left out. */

export class Misfit extends Error {}

export type Read<T> = (value: unknown) => T;

type Shape = Record<string, Read<unknown>>;
type Of<S extends Shape> = { [K in keyof S]: ReturnType<S[K]> };

export const text: Read<string> = (value) => {
  if (typeof value !== 'string') throw new Misfit('text expected');
  return value;
};

export const flag: Read<boolean> = (value) => {
  if (typeof value !== 'boolean') throw new Misfit('flag expected');
  return value;
};

/** 0 … 2^53 − 1. */
export const whole: Read<number> = (value) => {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw new Misfit('whole number expected');
  return value as number;
};

export const oneOf =
  <const T extends string>(...allowed: readonly T[]): Read<T> =>
  (value) => {
    if (!allowed.includes(value as T)) throw new Misfit('not one of the known words');
    return value as T;
  };

/** A text or number that `make` accepts. */
export const named =
  <Base, T>(base: Read<Base>, make: (value: Base) => T | null): Read<T> =>
  (value) => {
    const made = make(base(value));
    if (made === null) throw new Misfit('not well formed');
    return made;
  };

export const nullable =
  <T>(read: Read<T>): Read<T | null> =>
  (value) =>
    value === null ? null : read(value);

export const either =
  <A, B>(first: Read<A>, second: Read<B>): Read<A | B> =>
  (value) => {
    try {
      return first(value);
    } catch (misfit) {
      if (misfit instanceof Misfit) return second(value);
      throw misfit;
    }
  };

export const list =
  <T>(read: Read<T>): Read<readonly T[]> =>
  (value) => {
    if (!Array.isArray(value)) throw new Misfit('list expected');
    return value.map(read);
  };

export function record(value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Misfit('object expected');
  return value as Record<string, unknown>;
}

/** An object with every field of `required`, and those of `optional` that are there. */
export function struct<R extends Shape, O extends Shape>(
  required: R,
  optional = {} as O,
): Read<Of<R> & Partial<Of<O>>> {
  const need = Object.entries(required);
  const may = Object.entries(optional);
  return (value) => {
    const found = record(value);
    const present = may.filter(([name]) => Object.hasOwn(found, name));
    const fields = [...need, ...present].map(([name, read]) => [name, read(found[name])] as const);
    return Object.fromEntries(fields) as Of<R> & Partial<Of<O>>;
  };
}
