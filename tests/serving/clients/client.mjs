// Node's own client as it comes.
const [url, body] = process.argv.slice(2);
for (let i = 0; i < 5; i++) {
  const response = await fetch(url, { method: "POST", headers: { "Content-Type": "application/json" }, body });
  console.log(response.status, await response.text());
}
