// next-auth's browser client as it comes.
import dynamic from "next/dynamic";

export default dynamic(() => import("../lib/client"), { ssr: false });
