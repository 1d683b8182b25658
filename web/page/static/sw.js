// Keeps the bundle, so that the page works without a network. With one, what the server has counts: page and workers
// then always come from the same bundle.

const NAME = "slimclr-";

const cacheOf = ({ version }) => NAME + version;

// Takes in all files of the bundle, unless they are there, and puts earlier bundles away.
async function keep() {
  const response = await fetch("files.json", { cache: "no-cache" });
  const list = await response.clone().json();
  const cache = await caches.open(cacheOf(list));
  if (!(await cache.match("files.json"))) {
    await cache.addAll(["./", ...list.files.map(({ path }) => path)]);
    // Last: it says that all is there.
    await cache.put("files.json", response);
  }
  for (const name of await caches.keys()) {
    if (name.startsWith(NAME) && name !== cacheOf(list)) await caches.delete(name);
  }
}

self.addEventListener("install", (event) => {
  self.skipWaiting();
  event.waitUntil(keep());
});

self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const path = new URL(request.url).pathname.slice(new URL(self.registration.scope).pathname.length);
  const isOurs = request.url.startsWith(self.registration.scope) && request.method === "GET";
  // A run changes while it is looked at, and its events never end.
  if (!isOurs || path.startsWith("run/")) return;
  const kept = () => caches.match(request, { ignoreSearch: true });
  const answer = navigator.onLine ? fetch(request).catch(async (error) => (await kept()) ?? Promise.reject(error)) : kept().then((file) => file ?? fetch(request));
  event.respondWith(answer);
  // A new bundle is noticed when the page is opened.
  if (request.mode === "navigate") event.waitUntil(keep().catch(() => {}));
});
