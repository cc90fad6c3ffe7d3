// Trusts whoever stands in front of it: neither page nor action asks anybody who they are.
async function act() {
  "use server";
  return "only for admins";
}

export const dynamic = "force-dynamic";

export default function Admin() {
  return <form action={act}><p id="secret">only for admins</p><button>go</button></form>;
}
