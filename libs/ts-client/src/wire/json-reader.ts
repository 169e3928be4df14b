/** Readers that turn unknown JSON into a typed value, or throw `DecodeError`. Unknown fields are left out. */

export class DecodeError extends Error {}

export type Reader<T> = (value: unknown) => T;

type Fields = Record<string, Reader<unknown>>;
type ValueOf<F extends Fields> = { [K in keyof F]: ReturnType<F[K]> };

export const text: Reader<string> = (value) => {
  if (typeof value !== 'string') throw new DecodeError('expected a string');
  return value;
};

export const flag: Reader<boolean> = (value) => {
  if (typeof value !== 'boolean') throw new DecodeError('expected a boolean');
  return value;
};

/** Reads an integer from 0 to 2^53 − 1. */
export const wholeNumber: Reader<number> = (value) => {
  if (!Number.isSafeInteger(value) || (value as number) < 0)
    throw new DecodeError('expected a non-negative integer');
  return value as number;
};

export const oneOf =
  <const T extends string>(...allowed: readonly T[]): Reader<T> =>
  (value) => {
    if (!allowed.includes(value as T)) throw new DecodeError('expected one of the listed strings');
    return value as T;
  };

/** Reads a value with `read` and converts it with `parse`, which returns null if the value is invalid. */
export const parsed =
  <Base, T>(read: Reader<Base>, parse: (value: Base) => T | null): Reader<T> =>
  (value) => {
    const result = parse(read(value));
    if (result === null) throw new DecodeError('malformed value');
    return result;
  };

export const nullable =
  <T>(read: Reader<T>): Reader<T | null> =>
  (value) =>
    value === null ? null : read(value);

export const either =
  <A, B>(first: Reader<A>, second: Reader<B>): Reader<A | B> =>
  (value) => {
    try {
      return first(value);
    } catch (error) {
      if (error instanceof DecodeError) return second(value);
      throw error;
    }
  };

export const list =
  <T>(read: Reader<T>): Reader<readonly T[]> =>
  (value) => {
    if (!Array.isArray(value)) throw new DecodeError('expected an array');
    return value.map(read);
  };

export function record(value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new DecodeError('expected an object');
  return value as Record<string, unknown>;
}

/** Reads an object whose values are all read with `read`. */
export const dictionary =
  <T>(read: Reader<T>): Reader<Readonly<Record<string, T>>> =>
  (value) =>
    Object.fromEntries(Object.entries(record(value)).map(([name, entry]) => [name, read(entry)]));

/** Reads an object that has every field of `required` and may have fields of `optional`. */
export function struct<R extends Fields, O extends Fields>(
  required: R,
  optional = {} as O,
): Reader<ValueOf<R> & Partial<ValueOf<O>>> {
  const requiredFields = Object.entries(required);
  const optionalFields = Object.entries(optional);
  return (value) => {
    const object = record(value);
    const present = optionalFields.filter(([name]) => Object.hasOwn(object, name));
    const fields = [...requiredFields, ...present].map(([name, read]) => [name, read(object[name])] as const);
    return Object.fromEntries(fields) as ValueOf<R> & Partial<ValueOf<O>>;
  };
}
