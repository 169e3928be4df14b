/** A storage in the browser's IndexedDB. The browser deletes it with the other data of the site. */

import type { StateStorage } from './storage.js';

const DATABASE = 'livebalance';
const STORE = 'states';

/**
 * Returns a storage for the states of one user.
 *
 * `owner` identifies the user, for example by the subject of the token. The states of other users are deleted
 * before the first read.
 */
export function indexedDbStorage(owner: string): StateStorage {
  let database: Promise<IDBDatabase> | null = null;
  const open = () =>
    (database ??= openFor(owner, () => {
      database = null;
    }).catch((error: unknown) => {
      database = null;
      throw error;
    }));
  return {
    read: async (account) => {
      const store = (await open()).transaction(STORE).objectStore(STORE);
      return result<unknown>(store.get([owner, account]));
    },
    write: async (states) => {
      const transaction = (await open()).transaction(STORE, 'readwrite');
      const store = transaction.objectStore(STORE);
      for (const [account, state] of states) {
        if (state === null) store.delete([owner, account]);
        else store.put(state, [owner, account]);
      }
      await committed(transaction);
    },
    clear: async () => {
      const transaction = (await open()).transaction(STORE, 'readwrite');
      transaction.objectStore(STORE).clear();
      await committed(transaction);
    },
  };
}

/** Opens the database and deletes the states of other users. */
async function openFor(owner: string, onClosed: () => void): Promise<IDBDatabase> {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => {
    request.result.createObjectStore(STORE);
  };
  const database = await result(request);
  database.onclose = onClosed;
  database.onversionchange = () => {
    database.close();
    onClosed();
  };
  const transaction = database.transaction(STORE, 'readwrite');
  const store = transaction.objectStore(STORE);
  // In the order of keys, an array follows every string: these bounds enclose the keys of the owner.
  store.delete(IDBKeyRange.upperBound([owner]));
  store.delete(IDBKeyRange.lowerBound([owner, []]));
  await committed(transaction);
  return database;
}

function result<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => {
      resolve(request.result);
    };
    request.onerror = () => {
      reject(failure(request.error));
    };
  });
}

function committed(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => {
      resolve();
    };
    transaction.onabort = () => {
      reject(failure(transaction.error));
    };
  });
}

function failure(error: DOMException | null): Error {
  return error ?? new Error('IndexedDB failed');
}
